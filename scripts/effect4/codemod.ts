/**
 * Rewrites a source for Effect 3 into one for Effect 4. It reads the types, so that it knows a fiber from an effect and a
 * queue from a set, and it has no answer for what it has no rule for: that is an error with file and line.
 */
import ts from "typescript5"
import { calls, methods, properties, sequential, tests } from "./calls.ts"
import { members, modules, traps } from "./rules.ts"

/** Where something stands that has no rule. */
export class Unported extends Error {
  override readonly name = "Unported"
}

/** What a rule may ask, and say. */
export interface Site {
  /** The text of a node in Effect 4. */
  readonly port: (node: ts.Node) => string
  readonly typeOf: (node: ts.Node) => string
  /** Has the module be imported under its own name. */
  readonly needs: (name: string, module?: string) => void
  readonly fail: (node: ts.Node, why: string) => never
}

interface Imported {
  readonly module: string
  readonly namespace: string
}

const isEffect = (module: string) => /^(effect|@effect\/[\w-]+)(\/|$)/.test(module)

/** Members of these are modules. */
const isBarrel = (module: string) =>
  /^(effect|@effect\/(cluster|experimental|platform|platform-node|rpc|sql))$/.test(module)

/** That package is a part of Effect 4 itself. */
const isGone = (module: string) => module.startsWith("@effect/platform/")

const newModule = (module: string) => modules[module]?.[0] ?? module

/** The modules of Effect 4 that a file will import. */
export const modulesOf = (file: ts.SourceFile): ReadonlyArray<string> =>
  file.statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement)) return []
    const module = (statement.moduleSpecifier as ts.StringLiteral).text
    const bindings = statement.importClause?.namedBindings
    if (!isEffect(module)) return []
    return bindings !== undefined && ts.isNamedImports(bindings) && isBarrel(module)
      ? bindings.elements.map(({ name }) => newModule(`${module}/${name.text}`))
      : [newModule(module)]
  })

/** The names that a module of Effect 4 exports, types too. */
export type ExportsOf = (module: string) => ReadonlySet<string> | undefined

export const port = (file: ts.SourceFile, checker: ts.TypeChecker, exportsOf: ExportsOf): string => {
  const source = file.text
  const namespaces = new Map<string, Imported>()
  const needed = new Map<string, string>()

  const fail = (node: ts.Node, why: string): never => {
    const { character, line } = file.getLineAndCharacterOfPosition(node.getStart(file))
    throw new Unported(`${file.fileName}:${line + 1}:${character + 1}: ${node.getText(file).split("\n")[0]}: ${why}`)
  }

  const typeOf = (node: ts.Node): string => checker.typeToString(checker.getTypeAtLocation(node))

  /** The member of a module that a name with a dot is, if it is one. */
  const memberOf = (node: ts.Node): readonly [Imported, string] | undefined => {
    const [left, right] = ts.isPropertyAccessExpression(node)
      ? [node.expression, node.name]
      : ts.isQualifiedName(node)
      ? [node.left, node.right]
      : [undefined, undefined]
    if (left === undefined || right === undefined || !ts.isIdentifier(left)) return undefined
    const imported = namespaces.get(left.text)
    if (imported === undefined || isShadowed(left)) return undefined
    return [imported, right.text]
  }

  const isShadowed = (name: ts.Identifier): boolean => {
    const declared = checker.getSymbolAtLocation(name)?.declarations?.[0]
    return declared !== undefined && !ts.isNamespaceImport(declared) && !ts.isImportSpecifier(declared)
  }

  const renamed = ({ module, namespace }: Imported, member: string, node: ts.Node): string => {
    const trap = traps[module]?.[member]
    if (trap !== undefined) return fail(node, trap)
    const name = members[module]?.[member] ?? member
    const known = isGone(newModule(module)) ? undefined : exportsOf(newModule(module))
    if (known === undefined) return fail(node, `there is no module ${newModule(module)} in Effect 4`)
    if (!known.has(name)) {
      return fail(node, `${newModule(module)} of Effect 4 has no ${name}, and no rule says what to write`)
    }
    return `${namespaceOf(module, namespace)}.${name}`
  }

  const namespaceOf = (module: string, namespace: string) => modules[module]?.[1] ?? namespace

  const site: Site = {
    port: (node) => visit(node),
    typeOf,
    needs: (name, module = `effect/${name}`) => void needed.set(name, module),
    fail
  }

  /** The source between the children of a node stays, the children are ported. */
  const between = (node: ts.Node): string => {
    let text = ""
    let at = node.getStart(file)
    node.forEachChild((child) => {
      text += source.slice(at, child.getStart(file)) + visit(child)
      at = child.getEnd()
    })
    return text + source.slice(at, node.getEnd())
  }

  const visit = (node: ts.Node): string => {
    if (ts.isImportDeclaration(node)) return portImport(node)
    if (ts.isCallExpression(node)) {
      const suite = sequential(node, site)
      if (suite !== undefined) return suite
      const member = memberOf(node.expression)
      const rule = member && calls[`${member[0].module}.${member[1]}`]
      const text = rule?.(node.arguments, site)
      if (text !== undefined) return text
      if (ts.isPropertyAccessExpression(node.expression)) {
        const { text: name } = node.expression.name
        const method = Object.hasOwn(methods, name) ? methods[name] : undefined
        const ported = method?.(node.expression.expression, node.arguments, site)
        if (ported !== undefined) return ported
      }
    }
    if (ts.isYieldExpression(node) && node.asteriskToken !== undefined && node.expression !== undefined) {
      if (/^(Fiber\.)?(Runtime)?Fiber</.test(typeOf(node.expression))) {
        needed.set("Fiber", "effect/Fiber")
        return `yield* Fiber.join(${visit(node.expression)})`
      }
    }
    if (ts.isPropertyAccessExpression(node) && ["left", "right"].includes(node.name.text)) {
      if (/^(Either\.)?(Left|Right)<|^Either</.test(typeOf(node.expression))) {
        return `${visit(node.expression)}.${node.name.text === "left" ? "failure" : "success"}`
      }
    }
    // `class X extends Context.Tag("id")<X, S>() {}`
    if (
      ts.isCallExpression(node) && ts.isExpressionWithTypeArguments(node.expression) &&
      ts.isCallExpression(node.expression.expression) &&
      memberOf(node.expression.expression.expression)?.[1] === "Tag"
    ) {
      return tagOf(node.expression.expression, node.expression.typeArguments!)
    }
    if (
      ts.isCallExpression(node) && node.typeArguments !== undefined && ts.isCallExpression(node.expression) &&
      memberOf(node.expression.expression)?.[0].module === "effect/Context" &&
      memberOf(node.expression.expression)?.[1] === "Tag"
    ) {
      return tagOf(node.expression, node.typeArguments)
    }
    // The same in JavaScript, where it has no types.
    if (
      ts.isCallExpression(node) && node.typeArguments === undefined && node.arguments.length === 0 &&
      ts.isCallExpression(node.expression) && memberOf(node.expression.expression)?.[0].module === "effect/Context" &&
      memberOf(node.expression.expression)?.[1] === "Tag"
    ) {
      return `Context.Service()(${node.expression.arguments.map(visit).join(", ")})`
    }
    if (ts.isTypeReferenceNode(node) && ts.isQualifiedName(node.typeName)) {
      const inner = memberOf(node.typeName.left)
      const rule = inner && calls[`type ${inner[0].module}.${inner[1]}.${node.typeName.right.text}`]
      const text = rule?.(node.typeArguments ?? [], site)
      if (text !== undefined) return text
    }
    if (ts.isTypeReferenceNode(node)) {
      const member = memberOf(node.typeName)
      const rule = member && calls[`type ${member[0].module}.${member[1]}`]
      const text = rule?.(node.typeArguments ?? [], site)
      if (text !== undefined) return text
    }
    if (ts.isIndexedAccessTypeNode(node) && node.indexType.getText(file) === `"Type"`) {
      return `${visit(node.objectType)}["Service"]`
    }
    if (ts.isPropertyAccessExpression(node)) {
      const name = node.name.text
      const of = node.expression.getText(file)
      const test = Object.hasOwn(tests, `${of}.${name}`) ? tests[`${of}.${name}`] : undefined
      if (test !== undefined) return test
      const read = Object.hasOwn(properties, name) ? properties[name]!(node.expression, site) : undefined
      if (read !== undefined) return read
    }
    // `Effect.Effect.Success`
    if (ts.isQualifiedName(node)) {
      const inner = memberOf(node.left)
      if (inner !== undefined && inner[0].module.endsWith(`/${inner[1]}`)) {
        const { text } = node.right
        return `${namespaceOf(inner[0].module, inner[0].namespace)}.${text === "Context" ? "Services" : text}`
      }
    }
    const member = memberOf(node)
    if (member !== undefined) {
      const rule = calls[`${member[0].module}.${member[1]}`]?.(undefined, site)
      return rule ?? renamed(member[0], member[1], node)
    }
    // `import("effect/X")`
    if (
      ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      ts.isStringLiteral(node.arguments[0]!)
    ) {
      return `import("${newModule(node.arguments[0].text)}")`
    }
    return between(node)
  }

  const tagOf = (call: ts.CallExpression, types: ReadonlyArray<ts.TypeNode>) =>
    `Context.Service<${types.map(visit).join(", ")}>()(${call.arguments.map(visit).join(", ")})`

  const portImport = (node: ts.ImportDeclaration): string => {
    const module = (node.moduleSpecifier as ts.StringLiteral).text
    if (!isEffect(module)) return node.getText(file)
    const clause = node.importClause
    const bindings = clause?.namedBindings
    if (clause === undefined || bindings === undefined) return node.getText(file)
    const type = clause.isTypeOnly ? "type " : ""
    if (ts.isNamespaceImport(bindings)) {
      const name = modules[module]?.[1] ?? bindings.name.text
      return `import ${type}* as ${name} from "${newModule(module)}"`
    }
    // A barrel, or names out of a module.
    return bindings.elements.map((element) => {
      const name = element.name.text
      const isType = clause.isTypeOnly || element.isTypeOnly ? "type " : ""
      const of = `${module}/${name}`
      if (isBarrel(module)) {
        const to = modules[of]
        return `import ${isType}* as ${to?.[1] ?? name} from "${to?.[0] ?? of}"`
      }
      const to = members[module]?.[name] ?? name
      const known = exportsOf(newModule(module))
      if (known !== undefined && !known.has(to)) fail(element, `${newModule(module)} of Effect 4 has no ${to}`)
      return `import ${isType}{ ${to === name ? name : `${to} as ${name}`} } from "${newModule(module)}"`
    }).join("\n")
  }

  for (const statement of file.statements) {
    if (!ts.isImportDeclaration(statement)) continue
    const module = (statement.moduleSpecifier as ts.StringLiteral).text
    const bindings = statement.importClause?.namedBindings
    if (bindings === undefined || !isEffect(module)) continue
    if (ts.isNamespaceImport(bindings)) {
      namespaces.set(bindings.name.text, { module, namespace: bindings.name.text })
    } else if (isBarrel(module)) {
      for (const { name } of bindings.elements) {
        namespaces.set(name.text, { module: `${module}/${name.text}`, namespace: name.text })
      }
    }
  }

  const text = source.slice(0, file.getStart(file)) + between(file)
  return tidyImports(text, needed)
}

/** One import of a module, as a value where one is needed. */
const tidyImports = (text: string, needed: ReadonlyMap<string, string>): string => {
  const seen = new Map<string, { readonly isType: boolean; readonly line: string }>()
  const body = text.replace(/^import [^\n]*$/gm, "")
  const lines = text.split("\n")
  const pattern = /^import (type )?\* as (\w+) from "([^"]+)"$/
  for (const line of lines) {
    const match = pattern.exec(line)
    if (match === null) continue
    const before = seen.get(match[2]!)
    const isType = match[1] !== undefined && before?.isType !== false
    seen.set(match[2]!, { isType, line: `import ${isType ? "type " : ""}* as ${match[2]} from "${match[3]}"` })
  }
  for (const [name, module] of needed) seen.set(name, { isType: false, line: `import * as ${name} from "${module}"` })
  const isUsed = (name: string) => new RegExp(`(?<![\\w."'\`/])${name}\\b`).test(body)
  const written = new Set<string>()
  const out: Array<string> = []
  for (const line of lines) {
    const name = pattern.exec(line)?.[2]
    if (name === undefined || !/from "(effect|@effect\/|fast-check)/.test(line)) out.push(line)
    else if (!written.has(name) && isUsed(name)) {
      written.add(name)
      out.push(seen.get(name)!.line)
    }
  }
  const first = out.findIndex((line) => line.startsWith("import "))
  const missing = [...needed.keys()].filter((name) => !written.has(name))
  if (missing.length > 0) out.splice(Math.max(first, 0), 0, ...missing.map((name) => seen.get(name)!.line))
  return out.join("\n")
}
