"""What the api says of itself: its operations, the OpenAPI document made of them, and the pages made of that."""
