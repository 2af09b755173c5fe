#!/usr/bin/env bash
# Shows plexctl at work: two LUNs on lab devices, a file system in use on one, the other attached as its plex, a plex that
# breaks and comes back. It makes all it needs and takes it away again.
#
#   scripts/demo.sh          in a virtual machine
#   scripts/demo.sh --here   on this machine, as root. It takes down only what it has made
#
# As root on Debian it installs the packages it needs; Go 1.26 must be there, unless plexctl is in PATH.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly needed=(qemu-system-x86_64:qemu-system-x86 busybox:busybox-static mkfs.ext4:e2fsprogs dmsetup:dmsetup
	losetup:mount cmp:diffutils xz:xz-utils)

# install makes sure that the commands the demo runs are there.
install() {
	local pair missing=()
	for pair in "${needed[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
	done
	if ((${#missing[@]})); then
		printf 'installing %s\n' "${missing[*]}"
		apt-get -qq update
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
	fi
}

case $#:${1:-} in
0:)
	if [[ $EUID == 0 ]]; then install; fi
	exec scripts/vm.sh --tool numfmt --tool mktemp --tool mountpoint -- bash scripts/demo.sh --here
	;;
1:--here) ;;
*)
	sed -n '5,6s/^# *//p' "$0" >&2
	exit 2
	;;
esac
if [[ $EUID != 0 || ! -e /dev/mapper/control ]]; then
	echo 'demo.sh: --here wants root and device-mapper' >&2
	exit 1
fi
if ! command -v plexctl >/dev/null; then
	install
	CGO_ENABLED=0 go build -trimpath -o bin/plexctl ./cmd/plexctl
	PATH=$PWD/bin:$PATH
fi

# dmsetup leaves device nodes to udev unless it is told that there is none.
if [[ ! -S /run/udev/control ]]; then export DM_DISABLE_UDEV=1; fi

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }

# run shows a command and runs it.
run() {
	printf '$ %s\n' "$*"
	"$@"
}

# What the demo has made so far, and takes away again.
writer=
luns=()
mapped=
cleanup() {
	set +e
	if [[ $writer ]]; then kill "$writer" 2>/dev/null && wait "$writer" 2>/dev/null; fi
	mountpoint -q "$mnt" && umount "$mnt"
	if ((${#luns[@]})); then plexctl deactivate "${luns[@]}" >/dev/null 2>&1; fi
	if [[ $mapped ]]; then dmsetup remove "$mapped" >/dev/null 2>&1; fi
	scripts/loopdev.sh destroy
	rm -rf "$mnt" "$work"
}
mnt=$(mktemp -d)
work=$(mktemp -d)
export PLEXCTL_LAB=$work/lab # others may have lab devices, too
trap cleanup EXIT

say "Two lab devices. The second one lies under a dm device, so that it can be broken later."
mapfile -t loops < <(scripts/loopdev.sh create 2 192MiB)
sectors=$((192 * 2048))
dmsetup create demo-fragile --table "0 $sectors linear ${loops[1]} 0"
mapped=demo-fragile
good=${loops[0]}
fragile=/dev/mapper/demo-fragile
run plexctl drive init --yes "$good" "$fragile"

say "Two LUNs, one on each drive; a file system with data on the first."
run plexctl lun create web1 --size 128MiB --drive "$good"
luns+=(web1)
run plexctl lun create spare3 --size 128MiB --drive "$fragile"
luns+=(spare3)
run mkfs.ext4 -q /dev/mapper/plex-web1
run mount /dev/mapper/plex-web1 "$mnt"
dd if=/dev/urandom of="$mnt/data" bs=1M count=48 status=none
sum=$(sha256sum <"$mnt/data")

say "A writer is at work in the file system from now on. The other LUN becomes a plex meanwhile."
(n=0; while :; do n=$((n + 1)); printf '%08d\n' "$n"; done >"$mnt/log") &
writer=$!
run plexctl plex add web1 spare3 --yes --wait
run plexctl status

# legs compares the two plexes, past every cache: a plex starts 5 MiB into its drive on an empty one.
legs() {
	sync
	blockdev --flushbufs "$good"
	blockdev --flushbufs "$fragile"
	cmp --ignore-initial=$((5 << 20)) --bytes=$((128 << 20)) "$good" "$fragile" && echo "both plexes are byte for byte the same"
}

say "The second drive breaks. The file system goes on."
dmsetup suspend --noflush demo-fragile
dmsetup load demo-fragile --table "0 $sectors error"
dmsetup resume demo-fragile
sync
for _ in 1 2 3 4 5 6 7 8 9 10; do
	if plexctl status | grep -q failed-redundancy; then break; fi
	sleep 1
done
run plexctl status || echo "(exit status $?)"

say "It comes back. Only what was written meanwhile is copied."
dmsetup suspend --noflush demo-fragile
dmsetup load demo-fragile --table "0 $sectors linear ${loops[1]} 0"
dmsetup resume demo-fragile
run plexctl lun recover web1 --wait

say "Proof: the writer's and the old data are there, the file system is clean, the plexes are equal."
kill "$writer"
wait "$writer" 2>/dev/null || true
writer=
[[ $(sha256sum <"$mnt/data") == "$sum" ]] && echo "the data has its old checksum"
run umount "$mnt"
run e2fsck -fn /dev/mapper/plex-web1
legs

say "Everything is taken away again."
run plexctl lun delete web1 --yes
run plexctl drive remove "$good" --yes
run plexctl drive remove "$fragile" --yes
