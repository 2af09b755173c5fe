// Package ops has one file for each verb, which is something that a user does to LUNs or drives. Each file reads top to bottom
// as check, next record, plan, carry out. Every change starts with Change.
package ops
