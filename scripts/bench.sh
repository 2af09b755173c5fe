#!/usr/bin/env bash
# plexctl beside lvm2 and mdadm: the same work by turns, on the same drives, in a virtual machine.
#
#   scripts/bench.sh [--kernel 6.1|6.12|…]... [--rounds N] [--only REGEX] [--out DIR]
#
# One machine for each kernel (6.12), 5 rounds, about an hour. Run it on a machine that does nothing else. The figures are kept in
# bin/bench, a file of JSON lines for each kernel; from all files there docs/performance.md and its charts are made, or
# those in DIR. With --only, which chooses parts (attach, large, stall, many, return, io, cost), nothing of that is touched:
# figures and page are in bin/bench/only.
#
# As root on Debian it installs the packages it needs; Go 1.26 must be there. It changes nothing else on this machine.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly bin=$PWD/bin

kernels=()
rounds=5
only=
out=$PWD/docs

usage() {
	sed -n '4s/^# *//p' "$0" >&2
	exit 2
}

parse() {
	while (($#)); do
		case $1 in
		--kernel)
			[[ ${2:-} =~ ^([0-9.]+|newest)$ ]] || usage
			kernels+=("$2")
			;;
		--rounds)
			[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage
			rounds=$2
			;;
		--only)
			[[ ${2:-} ]] || usage
			only=$2
			;;
		--out)
			[[ -d ${2:-} ]] || usage
			out=$(cd "$2" && pwd)
			;;
		*) usage ;;
		esac
		shift 2
	done
	((${#kernels[@]})) || kernels=(6.12)
}

# install makes sure that the commands are there which the machine gets or runs in.
install() {
	local -A package=(
		[qemu-system-x86_64]=qemu-system-x86 [busybox]=busybox-static [mkfs.ext4]=e2fsprogs [dmsetup]=dmsetup [losetup]=mount
		[xz]=xz-utils [lvm]=lvm2 [mdadm]=mdadm [/usr/bin/time]=time
	)
	local command missing=()
	for command in "${!package[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("${package[$command]}")
	done
	if ((${#missing[@]})); then
		apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
	fi
}

# measure runs the bench on one kernel: measure KERNEL FILE
measure() {
	rm -f "$2.part"
	PLEXCTL_KERNELS=$1 PLEXCTL_BENCH=$2.part PLEXCTL_BENCH_ROUNDS=$rounds PLEXCTL_BENCH_ONLY=$only \
		PLEXCTL_BENCH_LIMIT=$((20 + 10 * rounds))m \
		go test -count=1 -v -timeout=$((30 + 10 * rounds))m -run='^TestHostBench$' ./integration/measure
	mv "$2.part" "$2"
}

parse "$@"
figures=$bin/bench
if [[ $only ]]; then figures=$bin/bench/only out=$bin/bench/only; fi
mkdir -p "$figures"
install
CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$bin/plexctl" ./cmd/plexctl
export PLEXCTL_BIN=$bin/plexctl
for kernel in "${kernels[@]}"; do measure "$kernel" "$figures/$kernel.json"; done
go run -C bench . --out "$out" "$figures"/*.json
printf 'see %s/performance.md\n' "$out"
