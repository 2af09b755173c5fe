#!/usr/bin/env bash
# Lab devices: loop devices on sparse files, for trying plexctl without a disk.
#
#   loopdev.sh create COUNT SIZE [--sector-size 512|4096]   make devices and print their paths
#   loopdev.sh list                                         print path, size, sector size and file of each
#   loopdev.sh destroy                                      detach them all and delete their files
#
# It touches only what it made: devices whose files are in its own folder, /var/lib/plexctl-lab (PLEXCTL_LAB names
# another), and only if that folder carries its mark. A device that is mounted, swapped on or part of another stays.
set -euo pipefail

lab=${PLEXCTL_LAB:-/var/lib/plexctl-lab}
mark=$lab/.plexctl-lab

usage() {
	sed -n '4,6s/^# *//p' "$0" >&2
	exit 2
}

die() {
	printf 'loopdev.sh: %s\n' "$*" >&2
	exit 1
}

# devices prints "path<TAB>file" for every loop device whose file is one of the lab's.
devices() {
	losetup --list --noheadings --raw --output NAME,BACK-FILE |
		while read -r device file; do
			file=${file%" (deleted)"}
			if [[ $file == "$lab"/lab-*.img ]]; then printf '%s\t%s\n' "$device" "$file"; fi
		done
}

# claim makes the lab's folder, or checks that it is the lab's.
claim() {
	if [[ ! -e $lab ]]; then
		mkdir -p -- "$lab"
		: >"$mark"
	fi
	owned
}

owned() { [[ -f $mark ]] || die "$lab: not made by loopdev.sh (it has no file .plexctl-lab); leaving it alone"; }

# attach makes one device of $1 bytes with sectors of $2 and prints its path.
attach() {
	local file
	file=$(mktemp -- "$lab/lab-XXXXXX.img")
	if ! truncate --size "$1" -- "$file" || ! losetup --find --show --sector-size "$2" -- "$file"; then
		rm -f -- "$file"
		return 1
	fi
}

# to_bytes turns a size as plexctl takes it, 64MiB or 64M, into bytes.
to_bytes() {
	local short=${1%B}
	numfmt --from=iec -- "${short%i}" 2>/dev/null
}

create() {
	local count=${1:-} size=${2:-} sector=512
	case $#:${3:-} in
	2:) ;;
	3:--sector-size=*) sector=${3#*=} ;;
	4:--sector-size) sector=$4 ;;
	*) usage ;;
	esac
	[[ $count =~ ^[1-9][0-9]?$ ]] || die "count $count: want a number from 1 to 99"
	[[ $sector == 512 || $sector == 4096 ]] || die "sector size $sector: want 512 or 4096"
	local bytes
	bytes=$(to_bytes "$size") || die "size $size: want a number of bytes, or one with KiB, MiB, GiB"
	((bytes >= 1048576 && bytes % 4096 == 0)) || die "size $size: want 1 MiB or more, in steps of 4 KiB"
	claim
	for ((i = 0; i < count; i++)); do
		attach "$bytes" "$sector" || die "no loop device for $size (see above)"
	done
}

list() {
	[[ $# == 0 ]] || usage
	devices | while IFS=$'\t' read -r device file; do
		printf '%s\t%s\t%s\t%s\n' "$device" "$(blockdev --getsize64 "$device")" "$(blockdev --getss "$device")" "$file"
	done
}

# in_use says whether something sits on a device. Detaching such a one would take its file away from under that.
in_use() {
	local name=${1#/dev/}
	grep -q "^$1 " /proc/self/mounts /proc/swaps || [[ -n $(ls -A "/sys/block/$name/holders") ]]
}

destroy() {
	[[ $# == 0 ]] || usage
	[[ -e $lab ]] || return 0
	owned
	local busy=0
	while IFS=$'\t' read -r device file; do
		if in_use "$device"; then
			printf 'loopdev.sh: %s: in use, left as it is\n' "$device" >&2
			busy=1
			continue
		fi
		losetup --detach "$device"
		rm -f -- "$file"
	done < <(devices)
	if ((busy)); then exit 1; fi
	rm -f -- "$lab"/lab-*.img "$mark"
	rmdir -- "$lab"
}

[[ $# -gt 0 ]] || usage
command=$1
shift
case $command in
create | list | destroy) ;;
*) usage ;;
esac
[[ $EUID == 0 ]] || die "must be run as root"
command -v losetup >/dev/null || die "losetup: not found (package util-linux)"
"$command" "$@"
