module github.com/sluice-cd/sluice/proto

go 1.26.0

