"""Our motion estimators by name."""

ESTIMATORS = {
    "steady_auto": "steadyspike.motion.auto.SteadyAutoRegistration",
    "steady_decentralized": "steadyspike.motion.decentralized.SteadyDecentralizedRegistration",
    "steady_iterative_template": "steadyspike.motion.iterative_template.SteadyIterativeTemplateRegistration",
    "steady_point_cloud": "steadyspike.motion.point_cloud.SteadyPointCloudRegistration",
    "steady_decentralized_lfp": "steadyspike.motion.lfp.SteadyDecentralizedLfpRegistration",
}
"""Name of each estimator, and the path of its class; all of them take recordings of several segments."""
