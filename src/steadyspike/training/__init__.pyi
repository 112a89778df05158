from .loop import TrainingInterrupted as TrainingInterrupted
from .settings import DataSettings as DataSettings
from .settings import NetworkSettings as NetworkSettings
from .settings import OptimizerSettings as OptimizerSettings
