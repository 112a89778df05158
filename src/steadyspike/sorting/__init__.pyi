from . import kilosort as kilosort
from .refractory import RefractoryTest as RefractoryTest
from .refractory import correlogram as correlogram
from .refractory import refractory_test as refractory_test
