"""One HTML file that tells what happened to a recording: `steadyspike.report`."""
