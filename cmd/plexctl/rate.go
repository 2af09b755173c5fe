package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// rateHelp tells how to write a rate.
const rateHelp = "RATE is how much is copied to each plex in a second, at most. It is a number with a unit (50MiB, 1.5G; letters alone\n" +
	"are powers of 1024) of at least 32KiB. \"paused\" stops the copy, \"max\" lets it run as fast as the drives are."

// slowest is the lowest rate that the kernel keeps to. Less than some 20 KiB a second it never copies.
const slowest = 32 * size.KiB

// rateFlag adds --rate to a command.
func rateFlag(cmd *cobra.Command, rate *size.Bytes) {
	cmd.Flags().Var(&value[size.Bytes]{rate, parseRate, "RATE"}, "rate", "copy at most so much a second: 50MiB, paused, or max (default max)")
}

// parseRate reads a rate as people write it.
func parseRate(text string) (size.Bytes, error) {
	switch text = strings.TrimSpace(text); text {
	case "paused":
		return lun.Paused, nil
	case "max":
		return lun.Unlimited, nil
	}
	parsed, err := size.Parse(strings.TrimSuffix(text, "/s"))
	switch {
	case err != nil:
		return 0, fmt.Errorf("rate %q: neither a number with a unit such as 50MiB, nor paused, nor max", text)
	case parsed < slowest:
		return 0, fmt.Errorf("rate %q: less than %s, which is the least that the kernel keeps to; to stop copying write paused", text, slowest)
	}
	return parsed, nil
}

// rateText formats a rate for people.
func rateText(rate size.Bytes) string {
	switch rate {
	case lun.Unlimited:
		return "max"
	case lun.Paused:
		return "paused"
	default:
		return rate.String() + "/s"
	}
}
