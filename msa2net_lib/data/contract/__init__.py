"""The data contract: prepared data of others, examined before they are used."""
