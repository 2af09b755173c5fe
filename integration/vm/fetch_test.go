package vm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKernelPackages(t *testing.T) {
	for _, tt := range []struct {
		name    string
		series  string
		depends []string
		want    []string // nil for an error
	}{
		{
			name:   "one package up to Debian 13",
			series: "6.1",
			depends: []string{
				"linux-image-cloud-amd64", "  Depends: linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64",
				"  PreDepends: linux-base", "kmod", "linux-base",
			},
			want: []string{"linux-image-6.1.0-56-cloud-amd64"},
		},
		{
			name:   "four packages after that",
			series: "newest",
			depends: []string{
				"linux-image-cloud-amd64", "linux-base-cloud-amd64", "linux-image-7.2.13+deb14-cloud-amd64", "linux-base",
				"linux-base-7.2.13+deb14-cloud-amd64", "linux-modules-7.2.13+deb14-cloud-amd64", "linux-binary-7.2.13+deb14-cloud-amd64",
			},
			want: []string{
				"linux-image-7.2.13+deb14-cloud-amd64", "linux-base-7.2.13+deb14-cloud-amd64",
				"linux-modules-7.2.13+deb14-cloud-amd64", "linux-binary-7.2.13+deb14-cloud-amd64",
			},
		},
		{name: "another series", series: "6.1", depends: []string{"linux-image-6.12.9-cloud-amd64"}},
		{name: "series with a longer number", series: "6.1", depends: []string{"linux-image-6.10.0-cloud-amd64"}},
		{name: "nothing", series: "6.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, err := sourceOf(tt.series)
			if err != nil {
				t.Fatal(err)
			}
			got, err := kernelPackages(strings.Join(tt.depends, "\n")+"\n", src)
			if (err == nil) != (tt.want != nil) {
				t.Errorf("kernelPackages: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownSeries(t *testing.T) {
	for _, series := range []string{"", "6", "6.1+udev", "4.19", "../6.1"} {
		if kernel, err := FindKernel(t.Context(), series); err == nil {
			t.Errorf("FindKernel(%q) = %v, want an error", series, kernel)
		}
	}
}

func TestOnKernelRefusesFlavour(t *testing.T) {
	for _, kernel := range []string{"6.1+", "6.1+systemd", "6.1+udev+udev"} {
		if _, err := (Machine{}).OnKernel(t.Context(), kernel); err == nil {
			t.Errorf("OnKernel(%q) succeeded", kernel)
		}
	}
}
