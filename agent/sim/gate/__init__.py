"""The door for devices: TLS and MQTT before the broker, with what AWS IoT Core does and no broker of one's own can."""
