"""The planner language model. A request, codes or a line of text go in; song sheets, audio codes
and scores come out.
"""
