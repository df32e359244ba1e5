// Package emissions decides how many tokens an epoch may mint and how they are
// split. It is pure: no clock, no network, no database, no floating point; the
// same inputs give the same result on any machine, so an auditor can repeat
// every result to the last base unit. FORMAT.md states every rounding rule.
//
// What lives here:
//
//   - Schedule: the ceiling of each epoch's emission. With G the genesis supply,
//     r a step's first share and d its decay, C(j) = G*r*(1-(1-d)^j)/d is clamped
//     at the cap and spread evenly over the epochs of each step; the running sum
//     is rounded down once, so that no rounding is ever lost or gained. Hourly and
//     Monthly are the published ones, ParseSchedule reads one of your own.
//   - Allocate and Unlock: the genesis supply by category, and when it is free.
//     SupplyAt puts schedule and unlocks together.
//   - Policy: the rules of an epoch as one strict TOML file, known by the SHA-256
//     of its exact bytes.
//   - PoolShares, Target and Split: an emission over pools, what a dollar target
//     draws of a pool's share, and that over devices. Nothing is handed out twice.
//
// Preparation and parsing may use math/big; everything that runs per epoch or
// per device is 64-bit integers.
package emissions
