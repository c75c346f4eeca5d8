"""nRF Cloud's REST plane as the stand-in cloud has it: onboarding, device tokens, state, messages, FOTA. PURE but for SQLite."""
