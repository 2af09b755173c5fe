package main

import (
	"cmp"
	"slices"
)

// job is what runs in one go: tests in one guest, or one test on the host, which boots machines of its own.
type job struct {
	kernel  string
	tests   []test
	seconds float64 // that it should take
}

// bootTime is how long a guest takes until its first test begins, in seconds.
const bootTime = 8

// shards per machine: fewer leave machines without work at the end, more boot more often.
const shardsPerMachine = 4

// jobsOf makes jobs of the tests of each kernel for so many machines at once, the longest first.
func jobsOf(byKernel map[string][]test, known times, machines int) []job {
	total := 0.0
	for kernel, tests := range byKernel {
		for _, t := range tests {
			total += known.of(kernel, t)
		}
	}
	target := max(total/float64(machines*shardsPerMachine), 4*bootTime)
	var all []job
	for kernel, tests := range byKernel {
		all = append(all, jobsOn(kernel, tests, known, target)...)
	}
	slices.SortFunc(all, func(a, b job) int {
		return cmp.Or(cmp.Compare(b.seconds, a.seconds), cmp.Compare(a.kernel, b.kernel), cmp.Compare(a.tests[0].String(), b.tests[0].String()))
	})
	return all
}

// jobsOn makes the jobs of a kernel: shards of about the target length, and one for each test on the host.
func jobsOn(kernel string, tests []test, known times, target float64) []job {
	var jobs []job
	var inGuest []test
	guestTime := 0.0
	for _, t := range tests {
		switch {
		case t.pkg == machinePackage:
			continue
		case t.onHost():
			jobs = append(jobs, job{kernel: kernel, tests: []test{t}, seconds: known.of(kernel, t)})
		default:
			inGuest = append(inGuest, t)
			guestTime += known.of(kernel, t)
		}
	}
	if machine := slices.DeleteFunc(slices.Clone(tests), func(t test) bool { return t.pkg != machinePackage }); len(machine) > 0 {
		all := job{kernel: kernel, tests: machine}
		for _, t := range machine {
			all.seconds += known.of(kernel, t)
		}
		jobs = append(jobs, all)
	}
	if len(inGuest) == 0 {
		return jobs
	}
	return append(jobs, shardsOf(kernel, inGuest, known, max(1, int(guestTime/target+0.5)))...)
}

// shardsOf deals tests out to n guests: each time the longest one left to the guest with the least to do.
func shardsOf(kernel string, tests []test, known times, n int) []job {
	order := map[test]int{}
	for i, t := range tests {
		order[t] = i
	}
	longest := slices.SortedStableFunc(slices.Values(tests), func(a, b test) int {
		return cmp.Compare(known.of(kernel, b), known.of(kernel, a))
	})
	shards := make([]job, min(n, len(tests)))
	for i := range shards {
		shards[i] = job{kernel: kernel, seconds: bootTime}
	}
	for _, t := range longest {
		least := 0
		for i := range shards {
			if shards[i].seconds < shards[least].seconds {
				least = i
			}
		}
		shards[least].tests = append(shards[least].tests, t)
		shards[least].seconds += known.of(kernel, t)
	}
	for _, s := range shards {
		slices.SortFunc(s.tests, func(a, b test) int { return cmp.Compare(order[a], order[b]) })
	}
	return shards
}

// makespan is how long jobs should take on so many machines, in their order.
func makespan(jobs []job, machines int) float64 {
	free := make([]float64, machines)
	for _, j := range jobs {
		slices.Sort(free)
		free[0] += j.seconds
	}
	return slices.Max(free)
}
