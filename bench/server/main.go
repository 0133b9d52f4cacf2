// A plain file server for benchmarks: it costs so little itself that what is measured is the client.
// It prints its address and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go http.Serve(listener, http.FileServer(http.Dir(os.Args[1])))
	io.Copy(io.Discard, os.Stdin)
}
