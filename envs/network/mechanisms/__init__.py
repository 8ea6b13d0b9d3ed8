"""What a scenario switches on: people, upkeep, quality, experience, demand that changes, CO2e, payment."""
