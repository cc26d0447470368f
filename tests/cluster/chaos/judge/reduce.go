package main

import (
	"math"
	"sort"
	"strconv"
	"strings"
)

// An operation without an answer may take effect at any time after its call, or never. A checker that tries both for each
// of them needs time exponential in their number, and a disk that is full for seconds leaves hundreds. reduce settles from
// the other operations' results which of them took effect, and by when:
//
//   - put, cas: each value is written once in a history, so a value that was seen was written before the first who saw it
//     returned. Who wrote a value that nobody saw is left out.
//   - incr: each number is counted once. A number between the known ones was counted by somebody without an answer, before
//     the first who saw it or a higher one returned. Unanswered ones have no end of their own, so that giving the lowest
//     number to who called first is as good as any choice.
//
// What is linearizable reduced is linearizable: what was left out never took effect. The other way round holds for incr;
// with cas it may not: one that fails may have failed by a value that only it met. exact says which it is.
func reduce(operations []operation) (reduced []operation, exact bool) {
	for _, o := range operations {
		if o.Op == "incr" {
			return reduceCounter(operations), true
		}
	}
	return reduceRegister(operations)
}

func reduceRegister(operations []operation) (reduced []operation, exact bool) {
	seen := map[string]int64{} // value -> the first return of who saw it
	see := func(value string, at int64) bool {
		if old, ok := seen[value]; ok && old <= at {
			return false
		}
		seen[value] = at
		return true
	}
	for _, o := range operations {
		if o.Unknown {
			continue
		}
		if o.Op == "get" {
			see(o.Result, o.Return)
		} else if o.Op == "cas" && o.Result == "true" {
			see(strings.SplitN(o.Argument, " ", 2)[0], o.Return)
		}
	}
	for changed := true; changed; { // a cas whose new value was seen has itself seen the old one
		changed = false
		for _, o := range operations {
			if words := strings.SplitN(o.Argument, " ", 2); o.Unknown && o.Op == "cas" {
				if at, ok := seen[words[1]]; ok {
					changed = see(words[0], at) || changed
				}
			}
		}
	}
	exact = true
	for _, o := range operations {
		if o.Unknown {
			words := strings.SplitN(o.Argument, " ", 2)
			at, ok := seen[words[len(words)-1]]
			if !ok || at < o.Call { // seen before it was called: by another writer, or wrongly
				exact = false
				continue
			}
			o.Return = at
			if o.Op == "cas" {
				o.Unknown, o.Result = false, "true"
			}
		}
		reduced = append(reduced, o)
	}
	return reduced, exact
}

func reduceCounter(operations []operation) (reduced []operation) {
	type sight struct {
		number int
		at     int64
	}
	var sights []sight
	var unanswered []operation
	known, highest := map[int]bool{}, 0
	for _, o := range operations {
		if o.Unknown {
			unanswered = append(unanswered, o)
			continue
		}
		reduced = append(reduced, o)
		number, _ := strconv.Atoi("0" + o.Result)
		if o.Op == "incr" {
			known[number] = true
			sights = append(sights, sight{number - 1, o.Return}) // the one before it was there already
		}
		sights = append(sights, sight{number, o.Return})
		if number > highest {
			highest = number
		}
	}
	sort.Slice(unanswered, func(i, j int) bool { return unanswered[i].Call < unanswered[j].Call })
	sort.Slice(sights, func(i, j int) bool { return sights[i].number > sights[j].number })
	ends := map[int]int64{} // number -> the first return of who saw it or a higher one
	end, next := int64(math.MaxInt64), 0
	for number := highest; number > 0; number-- {
		for ; next < len(sights) && sights[next].number >= number; next++ {
			if sights[next].at < end {
				end = sights[next].at
			}
		}
		ends[number] = end
	}
	for number := 1; number <= highest && len(unanswered) > 0; number++ {
		if known[number] {
			continue
		}
		o := unanswered[0]
		if o.Call > ends[number] {
			break // nobody can have counted it: left to the checker
		}
		unanswered = unanswered[1:]
		o.Unknown, o.Result, o.Return = false, strconv.Itoa(number), ends[number]
		reduced = append(reduced, o)
	}
	return reduced
}
