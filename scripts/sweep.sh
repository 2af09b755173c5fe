#!/usr/bin/env bash
# The long search for a way to lose data: crash points, random operations, mutations and fuzzing on this machine, kills, power
# cuts, replays and broken legs on the real kernels.
#
#   scripts/sweep.sh [MINUTES] [--part host|kernel]... [--kernel 6.1|6.12|6.12+udev]... [--seed N] [--lvm]
#
# It takes about MINUTES (60), and at least as long as everything that is finite takes once. As many kernels run at a time as there are processors. --seed
# repeats what was drawn before. --lvm kills lvm2's lvconvert and cuts the power under it in place of plexctl, on the same
# devices, for comparison. It also plays histories with plexctl, lvm2 and mdadm: see docs/crash-safety.md.
#
# The end is one table, and "ok" or what failed; the logs stay in bin/sweep. The exit status is 1 when anything failed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly bin=$PWD/bin log=$PWD/bin/sweep
machines=$(nproc)
readonly machines
readonly -A weight=([host]=35 [kernel]=65)

whole=100
minutes=60
parts=()
kernels=()
lvm=
failed=()

usage() {
	sed -n '5s/^# *//p' "$0" >&2
	exit 2
}

parse() {
	while (($#)); do
		case $1 in
		--part)
			[[ ${2:-} =~ ^(host|kernel)$ ]] || usage
			parts+=("$2")
			shift
			;;
		--kernel)
			[[ ${2:-} =~ ^[0-9.]+(\+udev)?$ ]] || usage
			kernels+=("$2")
			shift
			;;
		--seed)
			[[ ${2:-} =~ ^[0-9]+$ ]] || usage
			export PLEXCTL_SEED=$2
			shift
			;;
		--lvm) lvm=1 parts=(kernel) ;;
		*)
			[[ $1 =~ ^[1-9][0-9]*$ ]] || usage
			minutes=$1
			;;
		esac
		shift
	done
	((${#parts[@]})) || parts=(host kernel)
	((${#kernels[@]})) || kernels=(6.1 6.12)
	((${#parts[@]} == 2)) || whole=${weight[${parts[0]}]}
}

# share is a part of the time, in seconds: share PERCENT, of a sweep of both parts
share() { echo $((minutes * 60 * $1 / whole + 1)); }

# run runs tests for some seconds and keeps their log: run NAME SECONDS ARGUMENTS OF GO TEST
run() {
	local name=$1 seconds=$2
	shift 2
	printf '%(%H:%M:%S)T %s, %d s\n' -1 "$name" "$seconds" >&2
	PLEXCTL_SWEEP=${seconds}s go test -count=1 -v -timeout=$((seconds * 6 + 3600))s "$@" >"$log/$name" 2>&1 ||
		printf '%s\n' "$name" >>"$log/failed"
}

# fuzz runs every fuzz target for a while: fuzz SECONDS
fuzz() {
	local package target targets=()
	for package in $(go list ./...); do
		for target in $(go test -list='^Fuzz' "$package" | grep '^Fuzz' || true); do targets+=("$package $target"); done
	done
	local each=$(($1 / ${#targets[@]} + 1)) execs=0 found words
	: >"$log/fuzz"
	for words in "${targets[@]}"; do
		read -r package target <<<"$words"
		if ! go test -run='^$' -fuzz="^$target\$" -fuzztime="${each}s" -fuzzminimizetime=10x "$package" >"$log/fuzz.one" 2>&1; then
			printf 'fuzz:%s\n' "$target" >>"$log/failed"
		fi
		found=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log/fuzz.one" | tail -1)
		execs=$((execs + ${found:-0}))
		cat "$log/fuzz.one" >>"$log/fuzz"
	done
	printf 'SWEEP fuzz execs=%d\n' "$execs" >>"$log/fuzz"
}

part_host() {
	run crash "$(share 17)" -run='^TestCrash$' ./lun/...
	run guard "$(share 1)" -run='^TestGuard$' ./lun/...
	run sequences "$(share 8)" -run='^TestSequences$' ./lun/...
	run copies 60 -run='^TestEarlierCopies$' ./lun
	run mutations 60 ./mutation
	fuzz "$(share 8)"
}

# kernel_tests is what runs on one kernel, one test after the other, each for a share of the time.
kernel_tests() {
	if [[ $lvm ]]; then
		run "lvm-kills@$1" "$(share 30)" -run='^TestHostKillPointsLVM$' ./integration/measure
		run "beside-lvm@$1" 60 -run='^TestHostPowerCutBesideLVM$' ./integration/measure
		run "lvm-cuts@$1" "$(share 30)" -run='^TestHostPowerCutsLVM$' ./integration/measure
		run "histories@$1" 60 -run='^TestHostHistoriesOfPeers$' ./integration/measure
		return
	fi
	run "cuts@$1" "$(share 29)" -run='^TestHostPowerCuts$' ./integration/crash
	run "kills@$1" "$(share 14)" -run='^TestKillPoints$' ./integration/crash
	run "tracked@$1" "$(share 6)" -run='^TestKillPointsTracked$' ./integration/crash
	run "logwrites@$1" "$(share 8)" -run='^TestLogWrites$' ./integration/crash
	run "legs@$1" "$(share 8)" -run='^TestLegs$' ./integration/crash
	run "codes@$1" 60 -run='^TestCodes$' ./integration/codes
}

# harness runs the tests of the harness, which the gate leaves out as long as its files are the same.
harness() {
	mkdir -p "$log/harness"
	if ! PLEXCTL_SWEEP='' go run ./integration/gate --harness --log "$log/harness" >"$log/harness.log" 2>&1 ||
		awk '$3 > 0 { bad = 1 } END { exit !bad }' "$log"/harness/*.result; then
		printf 'harness\n' >>"$log/failed"
	fi
}

part_kernel() {
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$bin/plexctl" ./cmd/plexctl
	export PLEXCTL_BIN=$bin/plexctl
	local kernel running=0
	[[ $lvm ]] || harness
	for kernel in "${kernels[@]}"; do
		running=$((running + 1))
		if ((running > machines)); then wait -n; fi
		PLEXCTL_KERNELS=$kernel kernel_tests "$kernel" &
	done
	wait
}

# table adds up the lines `SWEEP part key=value…` of the logs, a row for each part and kernel. A stall is not added up: the
# worst one counts.
table() {
	local -a columns=(points pairs sequences mutations execs replays kills cuts faults mismatches violations suspended leaked stall_us)
	grep -Hso 'SWEEP [a-z]* .*' "$log"/* | awk -v columns="${columns[*]}" '
		{
			at = ""; file = $1; sub(/:SWEEP$/, "", file); sub(/.*\//, "", file)
			if (split(file, name, "@") > 1) at = name[2]
			row = $2 " " (at == "" ? "-" : at)
			if (!(row in seen)) { seen[row] = ++rows; label[rows] = row }
			for (i = 3; i <= NF; i++) {
				split($i, pair, "=")
				used[pair[1]] = 1
				if (pair[1] == "stall_us") { if (pair[2] > sum[row, pair[1]]) sum[row, pair[1]] = pair[2] }
				else sum[row, pair[1]] += pair[2]
			}
		}
		END {
			n = split(columns, column, " ")
			printf "%-11s %-9s", "what", "kernel"
			for (c = 1; c <= n; c++) if (column[c] in used) printf " %10s", column[c]
			print ""
			for (r = 1; r <= rows; r++) {
				split(label[r], part, " ")
				printf "%-11s %-9s", part[1], part[2]
				for (c = 1; c <= n; c++) if (column[c] in used)
					printf " %10s", ((label[r], column[c]) in sum) ? sum[label[r], column[c]] : "."
				print ""
			}
		}'
}

parse "$@"
rm -rf "$log"
mkdir -p "$log"
: >"$log/failed"
for part in "${parts[@]}"; do "part_$part"; done
table
mapfile -t failed <"$log/failed"
if ((${#failed[@]})); then
	printf 'FAILED: %s; see %s\n' "${failed[*]}" "${log#"$PWD"/}"
	exit 1
fi
echo ok
