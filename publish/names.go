package publish

import "github.com/ionet-settlement/ionet"

// NetworkName returns the name of the network file with that id.
func NetworkName(id ionet.Hash) string { return "network/" + ionet.Key(id).String() + ".toml" }

// ContentName returns the name of the lane content with that hash.
func ContentName(hash ionet.Hash) string { return "contents/" + hash.String() }

// BookName returns the name of the book with that root.
func BookName(root ionet.Hash) string { return "books/" + root.String() + ".zst" }
