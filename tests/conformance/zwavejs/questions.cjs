"use strict";
exports.asked = () => ({});
