// Says back what it hears, word by word. Build and start: go build lines.go; a2a-webcap serve --agent jsonl:./lines
package main

import (
	"encoding/json"
	"os"
	"strings"
	"time"
)

type object = map[string]any

func say(kind string, body object) { json.NewEncoder(os.Stdout).Encode(object{kind: body}) }

func work(task any, text string, canceled chan bool, state string) {
	for _, word := range strings.SplitAfter(text, " ") {
		select {
		case <-canceled:
			state = "TASK_STATE_CANCELED"
		case <-time.After(20 * time.Millisecond):
			artifact := object{"artifactId": "answer", "parts": []object{{"text": word}}}
			say("artifactUpdate", object{"taskId": task, "artifact": artifact, "append": true})
		}
	}
	say("statusUpdate", object{"taskId": task, "status": object{"state": state}})
}

func main() {
	say("card", object{"name": "Go", "description": "Says back what it hears, word by word."})
	running, in := map[any]chan bool{}, json.NewDecoder(os.Stdin)
	for line := (map[string]object{}); in.Decode(&line) == nil; line = map[string]object{} {
		if turn, ok := line["turn"]; ok {
			part := turn["message"].(object)["parts"].([]any)[0].(object)
			running[turn["taskId"]] = make(chan bool)
			go work(turn["taskId"], part["text"].(string), running[turn["taskId"]], "TASK_STATE_COMPLETED")
		} else if canceled, ok := running[line["cancel"]["taskId"]]; ok {
			close(canceled)
		}
	}
}
