// Package rows holds the measurements: each brings about one situation, waits for what Sluice makes of it, and gives lines of the table.
package rows
