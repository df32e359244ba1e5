package migrations

// ApplySteps lets the tests apply steps of their own.
var ApplySteps = apply
