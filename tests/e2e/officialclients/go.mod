module github.com/seed-498a1bc4/smartcar/tests/e2e/officialclients

go 1.26.0

require (
	github.com/seed-498a1bc4/smartcar v0.1.0
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace github.com/seed-498a1bc4/smartcar => ../../..
