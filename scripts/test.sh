#!/usr/bin/env bash
# The gate: everything that has to hold before a change goes in.
#
#   scripts/test.sh [--tier lint|unit|build|kernel] [--all-kernels] [--verbose]
#
#   lint    golangci-lint (with gofumpt), shellcheck, go.mod
#   unit    all tests that need no kernel, every fuzz target on its seeds; those of packages that start goroutines again
#           under the race detector, but for the sweeps over crash points, faults and sequences, which it makes ten times
#           slower; seeded bugs, one in eight
#   build   the static binary and its size; all packages for the other architectures
#   kernel  integration/ in a virtual machine: Debian's 6.1 and 6.12, with --all-kernels 5.10 and the newest too;
#           with udevd too; long tests that say the same everywhere run on one of them
#
# As root on Debian it installs the packages it needs; Go 1.26 must be there. A test that is skipped has failed. Each tier
# prints one line, and what went wrong; the logs stay in bin/log. The last line is "N passed, N failed".
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly bin=$PWD/bin log=$PWD/bin/log
readonly arches=(arm64 arm riscv64 ppc64le s390x)
readonly max_size=6501171 # 6.2 MiB
# Two cores carry two emulated machines; more of them only make each other miss their time.
readonly machines=2

# Long tests that say the same on every kernel run on one, those that see nothing of udev without it, and those that compare
# with lvm2 in scripts/sweep.sh --lvm; all of them everywhere when PLEXCTL_SWEEP is set.
elsewhere() {
	if [[ ${PLEXCTL_SWEEP:-} ]]; then return; fi
	case $1 in
	6.1) echo '^Test(Demo|HostVMScript|Rate|CancelOfAPausedPlex|CopiesToOneDriveQueue|AttachOutlivesAKilledPlexctl|DriveInitRefusals|Host.*LVM)$' ;;
	6.12) echo '^Test(Demo|HostPowerCutOfThreePlexes|RaceAddPlex|Host(KillPoints|PowerCuts)LVM)$' ;;
	6.12+udev) echo '^Test(Start|CopyGoesOn|Tracked|Offload|Allocation|Codes|Race|Async|Lock|Killed|PlexChain|HostPowerCut|HostKill|Recover|Rate|Contract|Unreadable|Cancel|Copies|LegLost|LogWrites|Legs|Attach|Extend|Old|HostVM)' ;;
	esac
}

tiers=(lint unit build kernel)
kernels=(6.1 6.12 6.12+udev)
verbose=
passed=0
failed=0

usage() {
	sed -n '4s/^# *//p' "$0" >&2
	exit 2
}

parse() {
	while (($#)); do
		case $1 in
		--tier)
			[[ ${2:-} =~ ^(lint|unit|build|kernel)$ ]] || usage
			tiers=("$2")
			shift
			;;
		--all-kernels) kernels=(5.10 6.1 6.12 6.12+udev newest) ;;
		--verbose) verbose=1 ;;
		*) usage ;;
		esac
		shift
	done
}

# install makes sure that the commands of the tiers are there.
install() {
	local -A package=(
		[qemu-system-x86_64]=qemu-system-x86 [busybox]=busybox-static [mkfs.ext4]=e2fsprogs [dmsetup]=dmsetup
		[udevadm]=udev [losetup]=mount [shellcheck]=shellcheck [xz]=xz-utils [gcc]=gcc [lvm]=lvm2
		[mdadm]=mdadm
	)
	local command missing=()
	for command in "${!package[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("${package[$command]}")
	done
	if ((${#missing[@]})); then
		apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" libc6-dev
	fi >"$log/install" 2>&1 || {
		cat "$log/install" >&2
		printf 'test.sh: cannot install %s\n' "${missing[*]}" >&2
		exit 1
	}
}

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
	finish "$tier" "$bad" "$start" "$good" "$bad" checks
}

# finish reports a tier and, if anything in it went wrong, prints its log: finish NAME STATUS START PASSED FAILED WHAT
finish() {
	local verdict=ok
	if [[ $2 != 0 ]]; then verdict=FAILED; fi
	report "$1" "$verdict" "$(seconds "$3")" "$4" "$5" "$6"
	if [[ $2 != 0 || $verbose ]]; then cat "$log/$1"; fi
}

count() { grep -c "\"Action\":\"$1\".*\"Test\":" "$log/$2.json" || true; }

# gotest runs tests, leaving their log, their events and their status in $log: gotest NAME ARGUMENTS OF GO TEST
gotest() {
	local name=$1 status=0
	shift
	printf '%s\n' "$EPOCHREALTIME" >"$log/$name.start"
	"$bin/gotestsum" --no-color --hide-summary=skipped --format=pkgname --jsonfile="$log/$name.json" -- -count=1 "$@" \
		>"$log/$name" 2>&1 || status=$?
	seconds "$(<"$log/$name.start")" >"$log/$name.seconds"
	printf '%s\n' "$status" >"$log/$name.status"
}

# judge reports what gotest left: a skipped test, or none at all, is a failure.
judge() {
	local name=$1 status good bad skipped
	status=$(<"$log/$name.status")
	good=$(count pass "$name") bad=$(count fail "$name") skipped=$(count skip "$name")
	if ((skipped)); then
		grep '"Action":"skip".*"Test":' "$log/$name.json" >>"$log/$name"
		bad=$((bad + skipped))
	fi
	if ((bad == 0 && (status || good == 0))); then bad=1; fi
	local verdict=ok
	if ((bad)); then verdict=FAILED; fi
	report "$name" "$verdict" "$(<"$log/$name.seconds")" "$good" "$bad" tests
	if ((bad)) || [[ $verbose ]]; then cat "$log/$name"; fi
}

# Its own cache: one that is shared remembers findings of other checkouts, under their paths.
golangci() {
	export GOLANGCI_LINT_CACHE=$bin/lint-cache
	"$bin/golangci-lint" run --allow-parallel-runners ./... && (cd bench && "$bin/golangci-lint" run --allow-parallel-runners ./...)
}

scripts() { shellcheck -- scripts/*.sh .ci/run; }

modules() { go mod verify && go mod tidy -diff && go mod tidy -C bench -diff; }

# static builds the binary that is released: nothing but the kernel under it.
static() {
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$bin/plexctl" ./cmd/plexctl || return
	if ldd "$bin/plexctl"; then
		echo "plexctl: not a static binary"
		return 1
	fi
	local size
	size=$(stat --format=%s "$bin/plexctl")
	printf 'plexctl: %d bytes\n' "$size"
	((size <= max_size))
}

cross() { CGO_ENABLED=0 GOOS=linux GOARCH=$1 go build ./...; }

tier_lint() { checks lint golangci scripts modules; }

tier_unit() {
	local packages
	mapfile -t packages < <(go list ./... | grep -Ev '/(integration|mutation)')
	gotest unit -timeout=15m "${packages[@]}"
	judge unit
	gotest race -race -skip='^Test(Crash|Faults|Guard|Sequences)' -timeout=15m ./blockdev ./cmd/... ./dm ./lun ./resync
	judge race
	gotest mutation -timeout=15m ./mutation
	judge mutation
	(cd bench && gotest bench ./...)
	judge bench
}

tier_build() { checks build static "${arches[@]/#/cross }"; }

tier_kernel() {
	static >"$log/static" 2>&1 || true # without it the tests build their own, or say why they cannot
	export PLEXCTL_BIN=$bin/plexctl
	local kernel running=0
	gotest machine -timeout=20m ./integration/vm/... &
	for kernel in "${kernels[@]}"; do
		running=$((running + 1))
		if ((running >= machines)); then wait -n; fi
		PLEXCTL_KERNELS=$kernel gotest "kernel-$kernel" -timeout=25m -skip="$(elsewhere "$kernel")" -p=1 \
			./integration/{product,codes,crash,kernel,harness,measure} &
	done
	wait
	judge machine
	for kernel in "${kernels[@]}"; do judge "kernel-$kernel"; done
}

parse "$@"
mkdir -p "$log"
install
go build -C tools -o "$bin/" tool
for tier in "${tiers[@]}"; do "tier_$tier"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
