"""Command classes as tables (SDS13781 and its parts): one entry for each command, read and written by drivers.zwave.codec. PURE."""
