// A server on cloudflare/tableflip, as its own example for net/http shows it: Shutdown with a limit of time.
// It says UP and EXIT with its process id, so that the bench knows when an upgrade is over.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
)

// What pm2 gives a process by default, as for the other peers.
const grace = 1600 * time.Millisecond

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	upgrader, err := tableflip.New(tableflip.Options{})
	check(err)
	defer upgrader.Stop()

	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGHUP)
		for range signals {
			if err := upgrader.Upgrade(); err != nil {
				fmt.Println("Upgrade failed:", err)
			}
		}
	}()

	listener, err := upgrader.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	check(err)
	server := http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, os.Getpid())
		}),
	}
	go serve(&server, listener)
	check(upgrader.Ready())
	fmt.Println("Started process", os.Getpid())
	fmt.Println("UP", os.Getpid())
	go func() {
		// Until then it would refuse the next upgrade.
		check(upgrader.WaitForParent(context.Background()))
		fmt.Println("ALONE", os.Getpid())
	}()
	<-upgrader.Exit()

	limited, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	server.Shutdown(limited)
	fmt.Println("EXIT", os.Getpid())
}

func serve(server *http.Server, listener net.Listener) {
	var err error
	switch os.Getenv("PROTOCOL") {
	case "https", "http2":
		err = server.ServeTLS(listener, os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
	default:
		err = server.Serve(listener)
	}
	if err != http.ErrServerClosed {
		check(err)
	}
}
