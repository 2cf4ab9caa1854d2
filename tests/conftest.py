"""What do all tests share: one embedded broker, settings that point at it, and a name of their own each?"""
