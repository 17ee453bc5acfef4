"""The MCP server: tools by which agents ask the service for songs."""
