"""Files of other formats to arrays and back: pictures, sound, video, meshes, views of a scene, sampled fields.

Each module imports its library inside the functions that need it. Nothing here knows of networks or of the bitstream.
"""
