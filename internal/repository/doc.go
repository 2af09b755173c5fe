// Package repository has tests of the repository as a whole, and nothing else.
package repository
