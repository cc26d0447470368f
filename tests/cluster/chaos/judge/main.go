// Judges histories of chaos runs: is what the clients saw linearizable, key by key?
//
// Reads one JSON object per line from standard input, an operation each:
//
//	{"client":3,"key":"k7","op":"put","argument":"v12","result":"","call":123,"return":456,"unknown":false}
//
// op: put (argument is the new value), get (result is the value, "" for none), cas (argument "old new"; result "true" or
// "false"), incr (result is the new number). Times are nanoseconds of one clock. unknown: the client does not know whether
// it took effect; then it may do so at any time after its call, or never.
//
// Prints {"operations":n,"keys":n,"verdict":"Ok"|"Illegal"|"Unknown","bad_keys":[...]} and ends with 0, 1 or 2.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	Client   int    `json:"client"`
	Key      string `json:"key"`
	Op       string `json:"op"`
	Argument string `json:"argument"`
	Result   string `json:"result"`
	Call     int64  `json:"call"`
	Return   int64  `json:"return"`
	Unknown  bool   `json:"unknown"`
}

// A key's value; the number that incr counts is its decimal text, "" counts as 0.
func step(state, input, output interface{}) (bool, interface{}) {
	value, asked, seen := state.(string), input.(operation), output.(operation)
	switch asked.Op {
	case "put":
		return true, asked.Argument
	case "get":
		return seen.Unknown || seen.Result == value, value
	case "cas":
		words := strings.SplitN(asked.Argument, " ", 2)
		swapped := value == words[0]
		if !seen.Unknown && seen.Result != strconv.FormatBool(swapped) {
			return false, value
		}
		if swapped {
			value = words[1]
		}
		return true, value
	case "incr":
		number, _ := strconv.ParseInt("0"+value, 10, 64)
		next := strconv.FormatInt(number+1, 10)
		return seen.Unknown || seen.Result == next, next
	}
	panic("no such operation: " + asked.Op)
}

var model = porcupine.Model{
	Init:  func() interface{} { return "" },
	Step:  step,
	Equal: func(a, b interface{}) bool { return a == b },
	DescribeOperation: func(input, output interface{}) string {
		a, r := input.(operation), output.(operation)
		if r.Unknown {
			return fmt.Sprintf("%s %s(%s) -> ?", a.Op, a.Key, a.Argument)
		}
		return fmt.Sprintf("%s %s(%s) -> %s", a.Op, a.Key, a.Argument, r.Result)
	},
}

// How long all keys together may be judged.
const budget = 120 * time.Second

func check(operations []operation, left time.Duration) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	history := make([]porcupine.Operation, len(operations))
	for i, o := range operations {
		history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: o.Call, Output: o, Return: o.Return}
	}
	if left <= 0 {
		left = time.Millisecond // none would be no limit
	}
	return porcupine.CheckOperationsVerbose(model, history, left)
}

// One key's operations.
func judge(operations []operation, left time.Duration) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	reduced, exact := reduce(operations)
	result, info := check(reduced, left)
	if result == porcupine.Illegal && !exact {
		return check(operations, left)
	}
	return result, info
}

func main() {
	byKey := map[string][]operation{}
	count := 0
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		var o operation
		if err := json.Unmarshal(input.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, "not an operation:", input.Text(), err)
			os.Exit(3)
		}
		if o.Unknown {
			if o.Op == "get" {
				continue // nobody saw anything
			}
			o.Return = math.MaxInt64
		}
		byKey[o.Key] = append(byKey[o.Key], o)
		count++
	}
	verdict, bad, begin := porcupine.Ok, []string{}, time.Now()
	for key, operations := range byKey {
		result, info := judge(operations, budget-time.Since(begin))
		if result == porcupine.Ok {
			continue
		}
		bad = append(bad, key)
		if verdict != porcupine.Illegal {
			verdict = result
		}
		if len(os.Args) > 1 && result == porcupine.Illegal {
			_ = porcupine.VisualizePath(model, info, os.Args[1]+"/"+key+".html")
		}
	}
	sort.Strings(bad)
	told, _ := json.Marshal(map[string]interface{}{
		"operations": count, "keys": len(byKey), "verdict": string(verdict), "bad_keys": bad})
	fmt.Println(string(told))
	switch verdict {
	case porcupine.Illegal:
		os.Exit(1)
	case porcupine.Unknown:
		os.Exit(2)
	}
}
