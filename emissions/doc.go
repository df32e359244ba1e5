// Package emissions decides how many tokens an epoch may mint and how they are
// split. It is pure: no clock, no network, no database, no floating point; the
// same inputs give the same result on any machine, so an auditor can repeat
// every result to the last base unit. FORMAT.md states every rounding rule.
//
// Four things live here:
//
//   - Schedule: the ceiling of each epoch's emission. With G the genesis supply,
//     r the first epoch's rate and d the decay of an epoch,
//     C(k) = G*r*(1-(1-d)^k)/d is rounded down once, on the running sum, and
//     clamped at the cap, so that no rounding is ever lost or gained.
//   - Allocate: the genesis supply by category.
//   - Policy: the rules of an epoch as one strict TOML file, known by the SHA-256
//     of its exact bytes.
//   - PoolShares and Split: an emission over pools, a pool's share over devices.
//     Both hand out exactly what they were given.
//
// Preparation and parsing may use math/big; everything that runs per epoch or
// per device is 64-bit integers.
package emissions
