// Package ops has one file for each verb: what a user can have done to LUNs and drives. Each reads top to bottom as check, next record,
// plan, carry out. Change is the one way into a change.
package ops
