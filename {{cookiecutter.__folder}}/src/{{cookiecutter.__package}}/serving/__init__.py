"""The service: answers requests with the champion's predictions, and follows it when it changes."""
