"""The stand-in cloud (`agent cloud`): the clouds' APIs on one machine, for building, testing and showing a hub. The daemon never imports it."""
