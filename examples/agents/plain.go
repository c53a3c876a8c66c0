// An agent in Go: the user's text on stdin, the answer on stdout. Says back what it hears, word by word.
// Build and start: go build examples/agents/plain.go; a2a-webcap serve --agent exec:./plain
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	words := bufio.NewScanner(os.Stdin)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		fmt.Print(words.Text(), " ")
		time.Sleep(20 * time.Millisecond)
	}
}
