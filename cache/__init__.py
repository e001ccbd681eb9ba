"""Answers one question: do we have the result of this compile?"""
