package main

import (
	"math"
	"math/rand"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history of a few clients on one key that a real register or counter could have given; now and then with a wrong
// result in it.
func randomHistory(dice *rand.Rand) (operations []operation) {
	counter, value, count, written := dice.Intn(2) == 0, "", 0, 0
	fresh := func() string { written++; return "v" + strconv.Itoa(written) }
	show := func() string {
		if !counter {
			return value
		}
		if count == 0 {
			return ""
		}
		return strconv.Itoa(count)
	}
	now := int64(0)
	free := make([]int64, 3)
	for i, n := 0, 4+dice.Intn(9); i < n; i++ {
		// Effects come in the order of now; calls and returns lie around them.
		now += 10
		client := dice.Intn(len(free))
		o := operation{Client: client, Key: "k", Call: now - int64(dice.Intn(25)), Return: now + int64(dice.Intn(25))}
		if o.Call <= free[client] {
			o.Call = free[client] + 1
		}
		if o.Call > now {
			continue
		}
		free[client] = o.Return
		happens := true
		if dice.Intn(3) == 0 {
			o.Unknown, happens = true, dice.Intn(2) == 0
			o.Return = math.MaxInt64
			free[client] = now
		}
		switch kind := dice.Intn(10); {
		case kind < 4:
			o.Op, o.Result = "get", show()
		case counter:
			o.Op = "incr"
			if happens {
				count++
			}
			o.Result = strconv.Itoa(count)
		case kind < 7:
			o.Op, o.Argument = "put", fresh()
			if happens {
				value = o.Argument
			}
		default:
			old := value
			if dice.Intn(3) == 0 && written > 0 {
				old = "v" + strconv.Itoa(1+dice.Intn(written))
			}
			if old == "" {
				continue
			}
			o.Op, o.Argument = "cas", old+" "+fresh()
			if o.Result = strconv.FormatBool(old == value); old == value && happens {
				value = "v" + strconv.Itoa(written)
			}
		}
		if o.Unknown {
			if o.Op == "get" {
				continue
			}
			o.Result = ""
		} else if dice.Intn(30) == 0 {
			if o.Op == "get" && written > 0 {
				o.Result = "v" + strconv.Itoa(1+dice.Intn(written))
			} else if o.Op == "incr" {
				o.Result = strconv.Itoa(count + dice.Intn(3) - 1)
			} else if o.Op == "cas" {
				o.Result = strconv.FormatBool(o.Result != "true")
			}
		}
		operations = append(operations, o)
	}
	return operations
}

func TestReducedHistoriesAreJudgedAsWholeOnes(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewSource(seed))
	illegal, settled := 0, 0
	for i := 0; i < 10000; i++ {
		operations := randomHistory(dice)
		whole, _ := check(operations, time.Minute)
		got, _ := judge(operations, time.Minute)
		if got != whole {
			t.Fatalf("seed %d: whole %s, reduced %s: %+v", seed, whole, got, operations)
		}
		reduced, _ := reduce(operations)
		result, _ := check(reduced, time.Minute)
		if result == porcupine.Ok && whole != porcupine.Ok {
			t.Fatalf("seed %d: reduced to something better than it is: %+v", seed, operations)
		}
		if result == whole && len(reduced) < len(operations) {
			settled++
		}
		if whole == porcupine.Illegal {
			illegal++
		}
	}
	t.Logf("%d of 10000 were illegal; %d were settled by less than the whole", illegal, settled)
	if illegal < 100 || settled < 1000 {
		t.Fatal("these histories prove little")
	}
}

// Five clients of which none got an answer for seconds: what a full disk does.
func TestHundredsWithoutAnAnswerAreJudgedInTime(t *testing.T) {
	for _, op := range []string{"put", "incr"} {
		var operations []operation
		for i := 0; i < 400; i++ {
			o := operation{Client: i % 5, Op: op, Call: int64(i * 10), Return: math.MaxInt64, Unknown: true}
			if op == "put" {
				o.Argument = "v" + strconv.Itoa(i)
			}
			operations = append(operations, o)
			if i%40 == 39 {
				seen := "v" + strconv.Itoa(i-1)
				if op == "incr" {
					seen = strconv.Itoa(i / 2)
				}
				operations = append(operations, operation{Client: 5, Op: "get", Result: seen, Call: int64(i*10 + 1), Return: int64(i*10 + 2)})
			}
		}
		if result, _ := judge(operations, 10*time.Second); result != porcupine.Ok {
			t.Errorf("%s: %s", op, result)
		}
		operations[len(operations)-1].Result = operations[len(operations)-1-2*41].Result // seen before a newer one was
		if op == "incr" {
			operations[len(operations)-1].Result = "3"
		}
		if result, _ := judge(operations, time.Second); result == porcupine.Ok {
			t.Errorf("%s: a stale read was not found", op)
		}
	}
}
