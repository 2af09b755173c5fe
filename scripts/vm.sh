#!/usr/bin/env bash
# A throw-away virtual machine with plexctl in it, for trying things that no machine with data should see.
#
#   scripts/vm.sh                                     a shell; leave it with "exit", or at once with C-a x
#   scripts/vm.sh -- plexctl doctor                   one command, whose exit status is that of this script
#   scripts/vm.sh --kernel 6.1 --udev -- scripts/demo.sh --here
#
# In the machine: plexctl, this folder as ./scripts, bash, dmsetup, losetup, mkfs.ext4, e2fsck and busybox, and three blank
# disks, /dev/vda to /dev/vdc. Nothing in it outlives it. scripts/vm.sh --help names all options.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$top/bin
export CGO_ENABLED=0
(cd "$top" && go build -trimpath -o "$bin/vm" ./integration/vm/cmd && go build -trimpath -o "$bin/plexctl" ./cmd/plexctl)
exec "$bin/vm" --file "/usr/bin/plexctl=$bin/plexctl" --file "/root/scripts=$top/scripts" "$@"
