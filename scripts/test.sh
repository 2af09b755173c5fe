#!/usr/bin/env bash
# The gate: everything that must hold before a change goes in.
#
#   scripts/test.sh [--tier lint|unit|build|emulated|kernel]... [--kernel K]... [--run REGEXP] [--all-kernels] [--no-install]
#                   [--record] [--verbose]
#
#   lint      golangci-lint (with gofumpt), shellcheck, actionlint, go.mod
#   unit      all tests that need no kernel, and every fuzz target on its seeds; packages that start goroutines run under the race
#             detector, but for the sweeps over crash points, faults and sequences, which it makes ten times slower; seeded bugs:
#             one in eight, others with each commit
#   build     the static binary and its size; all packages of the product for the other architectures
#   emulated  the pure packages on s390x, which is big-endian, and on 32-bit arm, under QEMU's user mode
#   kernel    integration/ in virtual machines: everything on Debian's 6.12, with udevd unless it has no say in what is tested;
#             what can differ from kernel to kernel also on 6.1, and without udevd; --all-kernels adds 5.10 and the newest
#
# --kernel K runs the kernel tier on K alone, and --run only the tests that match: one test on one kernel takes less than a
# minute. The tiers run beside each other: machines wait most of the time.
#
# The tests of the harness, the comparisons with lvm2 and mdadm, and those of the simulated kernel with the real ones run when the
# files that they depend on are not those they last passed with. --record keeps that in the repository, and how long the tests took, by which they are dealt out to machines.
#
# As root on Debian it installs the packages it needs, unless --no-install is given; Go 1.26 must be there. A test that is
# skipped has failed. Each tier prints one line, and what went wrong; the logs stay in bin/log. The last line is "N passed, N failed".
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly bin=$PWD/bin log=$PWD/bin/log
readonly arches=(arm64 arm riscv64 ppc64le s390x)
readonly max_size=6501171 # 6.2 MiB
readonly released=${GOFLAGS-}
# What the kernel tier leaves to the machines of integration/gate.
readonly in_machines='/(integration/(product|codes|crash|kernel|harness|measure|vm)(/|$)|mutation$)'
readonly sweeps='^Test(ADecision|ASignal|CodesNotice|Crash|EachHalfAlone|EarlierCopies|Faults|Guard|Overtaken|RecordsThatWereNotFlushed|ReturnedAsItOnceWas|RunsOnAfterAStop|ScanRandomly|Sequences|Signals)'
readonly pure=(./dm ./dm/raidmeta ./catalog ./vds ./size ./devno ./resync ./blockdev/...)

tiers=()
gate=()
all_kernels=
verbose=
may_install=1
passed=0
failed=0

usage() {
	sed -n '4,5s/^# *//p' "$0" >&2
	exit 2
}

parse() {
	while (($#)); do
		case $1 in
		--tier)
			[[ ${2:-} =~ ^(lint|unit|build|emulated|kernel)$ ]] || usage
			tiers+=("$2")
			shift
			;;
		--kernel | --run)
			[[ ${2:-} ]] || usage
			gate+=("$1" "$2")
			tiers=(kernel)
			shift
			;;
		--all-kernels) all_kernels=1 ;;
		--no-install) may_install= ;;
		--record) gate+=("$1") ;;
		--verbose) verbose=1 ;;
		*) usage ;;
		esac
		shift
	done
	if [[ $all_kernels ]]; then
		gate+=(--kernel 5.10 --kernel 6.1 --kernel 6.12 --kernel 6.12+udev --kernel newest)
	fi
	((${#tiers[@]})) || tiers=(lint unit build emulated kernel)
}

# install makes sure that the commands of the tiers are there.
install() {
	local -A package=(
		[qemu-system-x86_64]=qemu-system-x86 [busybox]=busybox-static [mkfs.ext4]=e2fsprogs [dmsetup]=dmsetup
		[udevadm]=udev [losetup]=mount [shellcheck]=shellcheck [xz]=xz-utils [gcc]=gcc [lvm]=lvm2
		[mdadm]=mdadm [mkfs.xfs]=xfsprogs [mkfs.btrfs]=btrfs-progs [cryptsetup]=cryptsetup-bin
	)
	if wants emulated; then package[qemu-s390x-static]=qemu-user-static; fi
	local command missing=()
	for command in "${!package[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("${package[$command]}")
	done
	((${#missing[@]})) || return 0
	if [[ ! $may_install ]]; then
		printf 'test.sh: missing: %s\n' "${missing[*]}" >&2
		exit 1
	fi
	{
		apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" libc6-dev
	} >"$log/install" 2>&1 || {
		cat "$log/install" >&2
		printf 'test.sh: cannot install %s\n' "${missing[*]}" >&2
		exit 1
	}
}

wants() { [[ " ${tiers[*]} " == *" $1 "* ]]; }

# report prints the line of one tier and counts: report NAME OK|FAILED SECONDS PASSED FAILED WHAT
report() {
	printf '%-18s %-6s %6.1fs  %d %s\n' "$1" "$2" "$3" "$4" "$6"
	passed=$((passed + $4))
	failed=$((failed + $5))
}

seconds() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { print to - from }'; }

# checks runs functions of this script, each with its arguments in one word, as one tier; each counts as one.
checks() {
	local tier=$1 start=$EPOCHREALTIME check words good=0 bad=0
	shift
	: >"$log/$tier"
	for check in "$@"; do
		read -ra words <<<"$check"
		printf -- '--- %s\n' "$check" >>"$log/$tier"
		if "${words[@]}" >>"$log/$tier" 2>&1; then good=$((good + 1)); else bad=$((bad + 1)); fi
	done
	finish "$tier" "$(seconds "$start")" "$good" "$bad" checks
}

# finish reports a tier and, if anything in it went wrong, prints its log: finish NAME SECONDS PASSED FAILED WHAT
finish() {
	local verdict=ok
	if (($4)); then verdict=FAILED; fi
	report "$1" "$verdict" "$2" "$3" "$4" "$5"
	if (($4)) || [[ $verbose ]]; then cat "$log/$1"; fi
}

count() { grep -c "\"Action\":\"$1\".*\"Test\":" "$log/$2.json" || true; }

# gotest runs tests and reports them as a tier: gotest NAME ARGUMENTS OF GO TEST. A skipped test, or none at all, is a failure.
# golangci-lint has vetted them.
gotest() {
	local name=$1 start=$EPOCHREALTIME status=0 good bad skipped
	shift
	"$bin/gotestsum" --no-color --hide-summary=skipped --format=pkgname --jsonfile="$log/$name.json" -- -count=1 -vet=off "$@" \
		>"$log/$name" 2>&1 || status=$?
	good=$(count pass "$name") bad=$(count fail "$name") skipped=$(count skip "$name")
	if ((skipped)); then
		grep '"Action":"skip".*"Test":' "$log/$name.json" >>"$log/$name"
		bad=$((bad + skipped))
	fi
	if ((bad == 0 && (status || good == 0))); then bad=1; fi
	finish "$name" "$(seconds "$start")" "$good" "$bad" tests
}

# Its own cache: one that is shared remembers findings of other checkouts, under their paths.
golangci() {
	export GOLANGCI_LINT_CACHE=$bin/lint-cache
	"$bin/golangci-lint" run --allow-parallel-runners ./... && (cd bench && "$bin/golangci-lint" run --allow-parallel-runners ./...)
}

scripts() { shellcheck -- scripts/*.sh .ci/run; }

workflows() { "$bin/actionlint"; }

modules() { go mod verify && go mod tidy -diff && go mod tidy -C bench -diff; }

# static builds the binary that is released: nothing but the kernel under it.
static() {
	GOFLAGS=$released CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$bin/plexctl" ./cmd/plexctl || return
	if ldd "$bin/plexctl"; then
		echo "plexctl: not a static binary"
		return 1
	fi
	local size
	size=$(stat --format=%s "$bin/plexctl")
	printf 'plexctl: %d bytes\n' "$size"
	((size <= max_size))
}

cross() {
	local packages
	mapfile -t packages < <(go list ./... | grep -Ev '/(integration|mutation)')
	local quick=(-gcflags='all=-N -l -dwarf=false') # the code is compiled, not run
	if [[ $1 =~ ^(arm|s390x)$ ]]; then quick=(); fi # the emulated tier runs it
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 go build "${quick[@]}" "${packages[@]}"
}

tier_lint() { checks lint golangci scripts workflows modules; }

tier_unit() {
	local all raced rest
	mapfile -t all < <(go list ./... | grep -Ev "$in_machines")
	mapfile -t raced < <(go list ./blockdev/... ./cmd/... ./dm ./lun/... ./resync)
	mapfile -t rest < <(printf '%s\n' "${all[@]}" "${raced[@]}" | sort | uniq -u)
	gotest sweeps -run="$sweeps" -timeout=45m "${raced[@]}"
	gotest unit -timeout=45m "${rest[@]}"
	gotest race -race -skip="$sweeps" -timeout=45m "${raced[@]}"
	gotest mutation -timeout=45m ./mutation
	cd bench
	gotest bench ./...
	cd ..
}

tier_build() { checks build static "${arches[@]/#/cross }"; }

# emulate runs the pure packages on another architecture, without what only repeats itself there: walks through every cut of a
# protocol, which the processor has no say in. Of the simulated kernel it runs one case of each kind.
emulate() {
	CGO_ENABLED=0 GOARCH=$1 gotest "emulated-$1" -short -timeout=45m -exec="qemu-$1-static" \
		-skip='^Test(Changes|TakenBack|CommitProtocolCut)$' "${pure[@]}"
	CGO_ENABLED=0 GOARCH=$1 gotest "emulated-$1-model" -short -timeout=45m -exec="qemu-$1-static" \
		-run='^TestContract$/^6.12$/^(attach|cancel|check|new_array|missing_leg|grow_a_mirror|refused_raid1_tables|tables_read_back)$' ./dm/dmtest
}

tier_emulated() {
	emulate s390x
	emulate arm
}

# machines runs the tests of the kernel tier and leaves their figures.
machines() {
	rm -f "$log"/kernel-* "$log"/machine*
	static >"$log/static" 2>&1 || true # without it the gate builds its own, or says why it cannot
	export PLEXCTL_BIN=$bin/plexctl
	go run ./integration/gate --log "$log" "${gate[@]}" >"$log/gate" 2>&1 || touch "$log/kernel-gate.failed"
}

# tier_kernel reports what machines has left.
tier_kernel() {
	local result name took good bad
	for result in "$log"/{machine,kernel-*}.result; do
		[[ -e $result ]] || continue
		name=${result##*/}
		read -r took good bad <"$result"
		finish_kernel "${name%.result}" "$took" "$good" "$bad"
	done
	if [[ -e $log/kernel-gate.failed ]]; then finish_kernel gate 0 0 1; fi
	if ((failed)) || [[ $verbose ]]; then cat "$log/gate"; fi
}

# finish_kernel is finish without the log: the gate prints what failed of it.
finish_kernel() {
	local verdict=ok
	if (($4)); then verdict=FAILED; fi
	report "$1" "$verdict" "$2" "$3" "$4" tests
	if [[ $verbose && -e $log/$1 ]]; then cat "$log/$1"; fi
}

parse "$@"
mkdir -p "$log"
install
if wants kernel; then
	machines &
	# The machines keep time: whatever else runs takes what they leave.
	renice -n 15 -p $$ >/dev/null
fi
# Tests and linters make much that is soon forgotten: they collect it seldom, up to a limit, and keep no profile of it.
export GOGC=400 GOMEMLIMIT=1GiB GODEBUG=memprofilerate=0
# What is compiled here goes to no debugger; only the binary that is released is compiled as users do.
GOFLAGS="$(go env GOFLAGS) -gcflags=all=-dwarf=false"
export GOFLAGS
if wants lint || wants unit || wants emulated; then go build -C tools -o "$bin/" tool; fi
for tier in "${tiers[@]}"; do
	if [[ $tier == kernel ]]; then wait; fi
	"tier_$tier"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
