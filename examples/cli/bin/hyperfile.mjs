#!/usr/bin/env node
// Kept apart from the build output: package managers link a workspace's programs before anything is built.
import "../dist/main.js";
