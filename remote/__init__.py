"""Answers one question: who compiles it?"""
