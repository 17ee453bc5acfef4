"""The planner language model: from requests, codes or text to song sheets, codes and scores."""
