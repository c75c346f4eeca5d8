"""AWS IoT Core's services as the stand-in cloud has them: jobs, fleet provisioning, shadows. PURE but for SQLite; topics in, messages out."""
