# Compiled from spec/sinr.ksy of SHA-256 8d8d51787414479bb9139314ccac57b1d3e87bdd4fd232e861f4cb89fb87838c
# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild
# type: ignore

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO
from enum import IntEnum


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class Sinr(KaitaiStruct):
    """Made by spec/generate.py from the layout of the fields and spec/registry.toml. Clauses are those of spec/sinr-1.md. Values and check values are described, not checked."""

    class ChunkKind(IntEnum):
        head_chunk = 1
        pass_chunk = 2
        indx_chunk = 3
        meta_chunk = 4
        hash_chunk = 5
        prev_chunk = 7

    class Coding(IntEnum):
        packed = 0
        rans = 1
        zlib = 2
        brotli = 3
        zstandard = 4

    class IndxKind(IntEnum):
        places = 0
        directory = 1

    class Modality(IntEnum):
        image = 1
        video = 2
        audio = 3
        volume = 4
        sdf = 5
        occupancy = 6
        radiance = 7
        field = 8

    class RecordKind(IntEnum):
        linear = 1
        sine = 2
        relu = 3
        gaussian = 4
        tanh = 5
        sigmoid = 6
        elu = 7
        gabor = 8
        finer = 9
        conv = 11
        conv_relu = 12
        fourier = 33
        fourier_seeded = 34
        grid = 35
        pyramid = 36
        input = 64
        output = 65
        filter = 66
        multiply = 67
    def __init__(self, _io, _parent=None, _root=None):
        super(Sinr, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        self.signature = self._io.read_bytes(4)
        if not self.signature == b"\x53\x49\x4E\xD2":
            raise kaitaistruct.ValidationNotEqualError(b"\x53\x49\x4E\xD2", self.signature, self._io, u"/seq/0")
        self.head = Sinr.HeadChunk(self._io, self, self._root)
        if (not (self.head.header.is_last)):
            pass
            self.chunks = []
            i = 0
            while True:
                _ = Sinr.Chunk(self._io, self, self._root)
                self.chunks.append(_)
                if _.header.is_last:
                    break
                i += 1



    def _fetch_instances(self):
        pass
        self.head._fetch_instances()
        if (not (self.head.header.is_last)):
            pass
            for i in range(len(self.chunks)):
                pass
                self.chunks[i]._fetch_instances()



    class Ancillary(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Ancillary, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            pass


        def _fetch_instances(self):
            pass
            _ = self.hash
            if hasattr(self, '_m_hash'):
                pass
                self._m_hash._fetch_instances()

            _ = self.indx
            if hasattr(self, '_m_indx'):
                pass
                self._m_indx._fetch_instances()

            _ = self.meta
            if hasattr(self, '_m_meta'):
                pass
                self._m_meta._fetch_instances()

            _ = self.prev
            if hasattr(self, '_m_prev'):
                pass
                self._m_prev._fetch_instances()


        @property
        def hash(self):
            if hasattr(self, '_m_hash'):
                return self._m_hash

            if self._parent.header.kind == Sinr.ChunkKind.hash_chunk:
                pass
                _pos = self._io.pos()
                self._io.seek(0)
                self._m_hash = Sinr.Hash(self._io, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_hash', None)

        @property
        def indx(self):
            if hasattr(self, '_m_indx'):
                return self._m_indx

            if self._parent.header.kind == Sinr.ChunkKind.indx_chunk:
                pass
                _pos = self._io.pos()
                self._io.seek(0)
                self._m_indx = Sinr.Indx(self._io, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_indx', None)

        @property
        def meta(self):
            if hasattr(self, '_m_meta'):
                return self._m_meta

            if self._parent.header.kind == Sinr.ChunkKind.meta_chunk:
                pass
                _pos = self._io.pos()
                self._io.seek(0)
                self._m_meta = Sinr.Meta(self._io, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_meta', None)

        @property
        def prev(self):
            if hasattr(self, '_m_prev'):
                return self._m_prev

            if self._parent.header.kind == Sinr.ChunkKind.prev_chunk:
                pass
                _pos = self._io.pos()
                self._io.seek(0)
                self._m_prev = Sinr.Prev(self._io, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_prev', None)


    class Box(KaitaiStruct):
        """Clause 6.1."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Box, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.low = []
            for i in range(self._parent.in_dims):
                self.low.append(self._io.read_f4le())

            self.high = []
            for i in range(self._parent.in_dims):
                self.high.append(self._io.read_f4le())



        def _fetch_instances(self):
            pass
            for i in range(len(self.low)):
                pass

            for i in range(len(self.high)):
                pass



    class Change(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Change, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.refined = self._io.read_bits_int_le(1) != 0
            if self.refined:
                pass
                self.refine_bits = self._io.read_bits_int_le(3)



        def _fetch_instances(self):
            pass
            if self.refined:
                pass



    class Chunk(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Chunk, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.header = Sinr.ChunkHeader(self._io, self, self._root)
            _on = (0 if self.header.is_private else int(self.header.kind))
            if _on == 2:
                pass
                self._raw_payload = self._io.read_bytes(self.header.length)
                _io__raw_payload = KaitaiStream(BytesIO(self._raw_payload))
                self.payload = Sinr.PassPayload(_io__raw_payload, self, self._root)
            else:
                pass
                self._raw_payload = self._io.read_bytes(self.header.length)
                _io__raw_payload = KaitaiStream(BytesIO(self._raw_payload))
                self.payload = Sinr.Ancillary(_io__raw_payload, self, self._root)
            self.trailer = Sinr.ChunkTrailer(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.header._fetch_instances()
            _on = (0 if self.header.is_private else int(self.header.kind))
            if _on == 2:
                pass
                self.payload._fetch_instances()
            else:
                pass
                self.payload._fetch_instances()
            self.trailer._fetch_instances()


    class ChunkHeader(KaitaiStruct):
        """Clause 5.2."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.ChunkHeader, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.type = self._io.read_u1()
            self.length = self._io.read_bits_int_le(24)
            self.hcheck = self._io.read_u1()


        def _fetch_instances(self):
            pass

        @property
        def is_last(self):
            """Last chunk of the file."""
            if hasattr(self, '_m_is_last'):
                return self._m_is_last

            self._m_is_last = self.type & 16 != 0
            return getattr(self, '_m_is_last', None)

        @property
        def is_private(self):
            """Its meaning is not in the text."""
            if hasattr(self, '_m_is_private'):
                return self._m_is_private

            self._m_is_private = self.type & 64 != 0
            return getattr(self, '_m_is_private', None)

        @property
        def kind(self):
            """Clause 5.3."""
            if hasattr(self, '_m_kind'):
                return self._m_kind

            self._m_kind = KaitaiStream.resolve_enum(Sinr.ChunkKind, self.type & 15)
            return getattr(self, '_m_kind', None)


    class ChunkTrailer(KaitaiStruct):
        """Clause 5.2."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.ChunkTrailer, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.crc32 = self._io.read_u4le()


        def _fetch_instances(self):
            pass


    class Entry(KaitaiStruct):
        def __init__(self, tool_flags, coding, is_later, is_weights, _io, _parent=None, _root=None):
            super(Sinr.Entry, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.tool_flags = tool_flags
            self.coding = coding
            self.is_later = is_later
            self.is_weights = is_weights
            self._read()

        def _read(self):
            if self.is_later:
                pass
                self.change = Sinr.Change(self._io, self, self._root)

            if (not (self.is_later)):
                pass
                self.step = Sinr.Step(self._io, self, self._root)

            if  (((not (self.is_later))) and (self.is_weights) and (self.tool_flags & 16 != 0)) :
                pass
                self.row_steps = Sinr.RowSteps(self.coding, self._io, self, self._root)

            if  (((not (self.is_later))) and (self.tool_flags & 8 != 0)) :
                pass
                self.prior = Sinr.Prior(self._io, self, self._root)

            if  (((not (self.is_later))) or (self.change.refined)) :
                pass
                self.values = Sinr.Values(self.coding, self._io, self, self._root)



        def _fetch_instances(self):
            pass
            if self.is_later:
                pass
                self.change._fetch_instances()

            if (not (self.is_later)):
                pass
                self.step._fetch_instances()

            if  (((not (self.is_later))) and (self.is_weights) and (self.tool_flags & 16 != 0)) :
                pass
                self.row_steps._fetch_instances()

            if  (((not (self.is_later))) and (self.tool_flags & 8 != 0)) :
                pass
                self.prior._fetch_instances()

            if  (((not (self.is_later))) or (self.change.refined)) :
                pass
                self.values._fetch_instances()



    class FilterBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.FilterBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.tool_flags = self._io.read_u1()
            self.omega = Sinr.Omega(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.omega._fetch_instances()


    class FourierBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.FourierBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.flags = self._io.read_u1()
            self.octaves = self._io.read_u1()
            self.base = self._io.read_u1()
            if self.base == 0:
                pass
                self.base_binary32 = self._io.read_f4le()



        def _fetch_instances(self):
            pass
            if self.base == 0:
                pass



    class FourierSeededBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.FourierSeededBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.n_features = self._io.read_u2le()
            self.scale = self._io.read_f4le()


        def _fetch_instances(self):
            pass


    class GridBody(KaitaiStruct):
        """Clause 9.6.1."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.GridBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.tool_flags = self._io.read_u1()
            self.n_axes = self._io.read_u1()
            self.n_levels = self._io.read_u1()
            self.latent_dim = self._io.read_u1()
            self.feature_dim = self._io.read_u1()
            self.log2_table_size = self._io.read_u1()
            self.flags = self._io.read_u1()
            self.resolutions = []
            for i in range(self.n_levels * (1 if self.flags & 4 != 0 else self.n_axes)):
                self.resolutions.append(self._io.read_u2le())



        def _fetch_instances(self):
            pass
            for i in range(len(self.resolutions)):
                pass



    class HasRowSteps(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.HasRowSteps, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.has_row_steps = self._io.read_bits_int_le(1) != 0


        def _fetch_instances(self):
            pass


    class Hash(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Hash, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.entries = []
            i = 0
            while not self._io.is_eof():
                self.entries.append(Sinr.HashEntry(self._io, self, self._root))
                i += 1



        def _fetch_instances(self):
            pass
            for i in range(len(self.entries)):
                pass
                self.entries[i]._fetch_instances()



    class HashEntry(KaitaiStruct):
        """Clause 12.3."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.HashEntry, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.pass_number = self._io.read_u1()
            self.digest = self._io.read_bytes(32)


        def _fetch_instances(self):
            pass


    class Head(KaitaiStruct):
        """Clause 6."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Head, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.version = self._io.read_u1()
            self.profile_level = self._io.read_u1()
            self.features_required = self._io.read_u2le()
            self.features_optional = self._io.read_u1()
            self.modality = KaitaiStream.resolve_enum(Sinr.Modality, self._io.read_u1())
            self.in_dims = self._io.read_u1()
            self.out_channels = self._io.read_u1()
            self.coords_values = self._io.read_u1()
            self.n_passes = self._io.read_u1()
            self.grid = []
            for i in range(self.in_dims):
                _on = self.features_required & 1 != 0
                if _on == False:
                    pass
                    self.grid.append(self._io.read_u2le())
                elif _on == True:
                    pass
                    self.grid.append(self._io.read_u4le())

            if self.coords_values & 15 == 15:
                pass
                self.box = Sinr.Box(self._io, self, self._root)

            if self.features_required & 2 != 0:
                pass
                self.seeded = Sinr.Seeded(self._io, self, self._root)

            self.n_records = self._io.read_u1()
            self.records = []
            for i in range(self.n_records - 1):
                self.records.append(Sinr.Record((0 if i == 0 else self.records[i - 1].n_layer_records), self._io, self, self._root))

            self.last_record = Sinr.LastRecord(self._io, self, self._root)
            if self.features_required & 32 != 0:
                pass
                self.parts = Sinr.Parts(self._io, self, self._root)

            if self.features_required & 64 != 0:
                pass
                self.active_width = []
                for i in range(((self.n_passes - 1) * self.records[-1].n_layer_records if self.n_records > 1 else 0)):
                    self.active_width.append(self._io.read_u2le())


            if self.features_required & 128 != 0:
                pass
                self.base_digest = self._io.read_bytes(16)

            self.optional_blocks = []
            for i in range((((((((self.features_optional >> 0 & 1) + (self.features_optional >> 1 & 1)) + (self.features_optional >> 2 & 1)) + (self.features_optional >> 3 & 1)) + (self.features_optional >> 4 & 1)) + (self.features_optional >> 5 & 1)) + (self.features_optional >> 6 & 1)) + (self.features_optional >> 7 & 1)):
                self.optional_blocks.append(Sinr.OptionalBlock(self._io, self, self._root))



        def _fetch_instances(self):
            pass
            for i in range(len(self.grid)):
                pass
                _on = self.features_required & 1 != 0
                if _on == False:
                    pass
                elif _on == True:
                    pass

            if self.coords_values & 15 == 15:
                pass
                self.box._fetch_instances()

            if self.features_required & 2 != 0:
                pass
                self.seeded._fetch_instances()

            for i in range(len(self.records)):
                pass
                self.records[i]._fetch_instances()

            self.last_record._fetch_instances()
            if self.features_required & 32 != 0:
                pass
                self.parts._fetch_instances()

            if self.features_required & 64 != 0:
                pass
                for i in range(len(self.active_width)):
                    pass


            if self.features_required & 128 != 0:
                pass

            for i in range(len(self.optional_blocks)):
                pass
                self.optional_blocks[i]._fetch_instances()



    class HeadChunk(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.HeadChunk, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.header = Sinr.ChunkHeader(self._io, self, self._root)
            self._raw_payload = self._io.read_bytes(self.header.length)
            _io__raw_payload = KaitaiStream(BytesIO(self._raw_payload))
            self.payload = Sinr.Head(_io__raw_payload, self, self._root)
            self.trailer = Sinr.ChunkTrailer(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.header._fetch_instances()
            self.payload._fetch_instances()
            self.trailer._fetch_instances()


    class Indx(KaitaiStruct):
        """Clause 12.1."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Indx, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.kind = KaitaiStream.resolve_enum(Sinr.IndxKind, self._io.read_u1())
            if self.kind == Sinr.IndxKind.places:
                pass
                self.places = Sinr.IndxPlaces(self._io, self, self._root)

            if  ((self.kind == Sinr.IndxKind.places) and (self.places.length_bytes >= 1) and (self.places.length_bytes <= 4)) :
                pass
                self.lengths = []
                i = 0
                while not self._io.is_eof():
                    _on = self.places.length_bytes
                    if _on == 1:
                        pass
                        self.lengths.append(self._io.read_u1())
                    elif _on == 2:
                        pass
                        self.lengths.append(self._io.read_u2le())
                    elif _on == 3:
                        pass
                        self.lengths.append(self._io.read_bits_int_le(24))
                    elif _on == 4:
                        pass
                        self.lengths.append(self._io.read_u4le())
                    i += 1


            if self.kind == Sinr.IndxKind.directory:
                pass
                self.entries = []
                i = 0
                while not self._io.is_eof():
                    self.entries.append(Sinr.IndxEntry(self._io, self, self._root))
                    i += 1




        def _fetch_instances(self):
            pass
            if self.kind == Sinr.IndxKind.places:
                pass
                self.places._fetch_instances()

            if  ((self.kind == Sinr.IndxKind.places) and (self.places.length_bytes >= 1) and (self.places.length_bytes <= 4)) :
                pass
                for i in range(len(self.lengths)):
                    pass
                    _on = self.places.length_bytes
                    if _on == 1:
                        pass
                    elif _on == 2:
                        pass
                    elif _on == 3:
                        pass
                    elif _on == 4:
                        pass


            if self.kind == Sinr.IndxKind.directory:
                pass
                for i in range(len(self.entries)):
                    pass
                    self.entries[i]._fetch_instances()




    class IndxEntry(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.IndxEntry, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.first = self._io.read_u4le()
            self.offset = self._io.read_u4le()
            self.length = self._io.read_u4le()


        def _fetch_instances(self):
            pass


    class IndxPlaces(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.IndxPlaces, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.first = self._io.read_u4le()
            self.offset = self._io.read_u4le()
            self.length_bytes = self._io.read_u1()


        def _fetch_instances(self):
            pass


    class InputBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.InputBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.first = self._io.read_u1()
            self.count = self._io.read_u1()
            self.encoding = KaitaiStream.resolve_enum(Sinr.RecordKind, self._io.read_u1())
            if int(self.encoding) == 33:
                pass
                self.fourier = Sinr.FourierBody(self._io, self, self._root)



        def _fetch_instances(self):
            pass
            if int(self.encoding) == 33:
                pass
                self.fourier._fetch_instances()



    class LastLayerBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.LastLayerBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.tool_flags = self._io.read_u1()
            if  ((self._parent.kind == Sinr.RecordKind.sine) or (self._parent.kind == Sinr.RecordKind.gaussian) or (self._parent.kind == Sinr.RecordKind.gabor) or (self._parent.kind == Sinr.RecordKind.finer) or (self._parent.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega = Sinr.Omega(self._io, self, self._root)



        def _fetch_instances(self):
            pass
            if  ((self._parent.kind == Sinr.RecordKind.sine) or (self._parent.kind == Sinr.RecordKind.gaussian) or (self._parent.kind == Sinr.RecordKind.gabor) or (self._parent.kind == Sinr.RecordKind.finer) or (self._parent.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega._fetch_instances()



    class LastRecord(KaitaiStruct):
        """Clause 6.4."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.LastRecord, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.kind = KaitaiStream.resolve_enum(Sinr.RecordKind, self._io.read_u1())
            self.body = Sinr.LastLayerBody(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.body._fetch_instances()


    class LayerBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.LayerBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.tool_flags = self._io.read_u1()
            self.width = self._io.read_u2le()
            self.repeat = self._io.read_u1()
            if  ((self._parent.kind == Sinr.RecordKind.sine) or (self._parent.kind == Sinr.RecordKind.gaussian) or (self._parent.kind == Sinr.RecordKind.gabor) or (self._parent.kind == Sinr.RecordKind.finer) or (self._parent.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega = Sinr.Omega(self._io, self, self._root)

            if self._parent.kind == Sinr.RecordKind.gabor:
                pass
                self.scale = self._io.read_f4le()



        def _fetch_instances(self):
            pass
            if  ((self._parent.kind == Sinr.RecordKind.sine) or (self._parent.kind == Sinr.RecordKind.gaussian) or (self._parent.kind == Sinr.RecordKind.gabor) or (self._parent.kind == Sinr.RecordKind.finer) or (self._parent.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega._fetch_instances()

            if self._parent.kind == Sinr.RecordKind.gabor:
                pass



    class LayerTable(KaitaiStruct):
        def __init__(self, tool_flags, coding, is_later, _io, _parent=None, _root=None):
            super(Sinr.LayerTable, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.tool_flags = tool_flags
            self.coding = coding
            self.is_later = is_later
            self._read()

        def _read(self):
            if self.tool_flags & 7 != 0:
                pass
                self.weights = Sinr.Entry(self.tool_flags, self.coding, self.is_later, True, self._io, self, self._root)

            if  ((self.tool_flags & 7 != 0) and (self.tool_flags & 32 == 0)) :
                pass
                self.bias = Sinr.Entry(self.tool_flags, self.coding, self.is_later, False, self._io, self, self._root)



        def _fetch_instances(self):
            pass
            if self.tool_flags & 7 != 0:
                pass
                self.weights._fetch_instances()

            if  ((self.tool_flags & 7 != 0) and (self.tool_flags & 32 == 0)) :
                pass
                self.bias._fetch_instances()



    class Meta(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Meta, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.pairs = []
            i = 0
            while not self._io.is_eof():
                self.pairs.append(Sinr.MetaPair(self._io, self, self._root))
                i += 1



        def _fetch_instances(self):
            pass
            for i in range(len(self.pairs)):
                pass
                self.pairs[i]._fetch_instances()



    class MetaKey(KaitaiStruct):
        """Clause 12.2."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.MetaKey, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.length = self._io.read_u1()
            self.key = self._io.read_bytes(self.length)


        def _fetch_instances(self):
            pass


    class MetaPair(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.MetaPair, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.key = Sinr.MetaKey(self._io, self, self._root)
            self.value = Sinr.MetaValue(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.key._fetch_instances()
            self.value._fetch_instances()


    class MetaValue(KaitaiStruct):
        """Clause 12.2."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.MetaValue, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.length = self._io.read_u2le()
            self.value = self._io.read_bytes(self.length)


        def _fetch_instances(self):
            pass


    class MultiplyBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.MultiplyBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.layer = self._io.read_u1()


        def _fetch_instances(self):
            pass


    class Omega(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Omega, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.omega = self._io.read_u1()
            if self.omega == 0:
                pass
                self.omega_binary32 = self._io.read_f4le()



        def _fetch_instances(self):
            pass
            if self.omega == 0:
                pass



    class OptionalBlock(KaitaiStruct):
        """Clause 6.6."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.OptionalBlock, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.length = self._io.read_u1()
            self.data = self._io.read_bytes(self.length)


        def _fetch_instances(self):
            pass


    class OutputBody(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.OutputBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.kind = KaitaiStream.resolve_enum(Sinr.RecordKind, self._io.read_u1())
            self.tool_flags = self._io.read_u1()
            self.width = self._io.read_u1()
            if  ((self.kind == Sinr.RecordKind.sine) or (self.kind == Sinr.RecordKind.gaussian) or (self.kind == Sinr.RecordKind.gabor) or (self.kind == Sinr.RecordKind.finer) or (self.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega = Sinr.Omega(self._io, self, self._root)



        def _fetch_instances(self):
            pass
            if  ((self.kind == Sinr.RecordKind.sine) or (self.kind == Sinr.RecordKind.gaussian) or (self.kind == Sinr.RecordKind.gabor) or (self.kind == Sinr.RecordKind.finer) or (self.kind == Sinr.RecordKind.filter)) :
                pass
                self.omega._fetch_instances()



    class Parts(KaitaiStruct):
        """Clause 13.1."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Parts, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.split = []
            for i in range(self._parent.in_dims):
                self.split.append(self._io.read_u2le())

            self.overlap = []
            for i in range(self._parent.in_dims):
                self.overlap.append(self._io.read_u2le())

            self.shared = self._io.read_u1()


        def _fetch_instances(self):
            pass
            for i in range(len(self.split)):
                pass

            for i in range(len(self.overlap)):
                pass



    class PassPayload(KaitaiStruct):
        """Clause 7."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.PassPayload, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.flags = self._io.read_u1()
            self.pass_number = self._io.read_u1()
            self.acc_crc = self._io.read_u4le()
            if self._root.head.payload.features_required & 32 != 0:
                pass
                self.part = self._io.read_u2le()

            if self.has_table:
                pass
                self.table = Sinr.Table(self.flags & 7, self.is_later, self._io, self, self._root)

            self.body = self._io.read_bytes_full()


        def _fetch_instances(self):
            pass
            if self._root.head.payload.features_required & 32 != 0:
                pass

            if self.has_table:
                pass
                self.table._fetch_instances()


        @property
        def coding(self):
            if hasattr(self, '_m_coding'):
                return self._m_coding

            self._m_coding = KaitaiStream.resolve_enum(Sinr.Coding, self.flags & 7)
            return getattr(self, '_m_coding', None)

        @property
        def has_table(self):
            """Not with SPARSE, GRID, PARTS or WIDTHS."""
            if hasattr(self, '_m_has_table'):
                return self._m_has_table

            self._m_has_table = self._root.head.payload.features_required & 120 == 0
            return getattr(self, '_m_has_table', None)

        @property
        def is_later(self):
            if hasattr(self, '_m_is_later'):
                return self._m_is_later

            self._m_is_later =  ((self.pass_number > 0) or (self._root.head.payload.features_required & 128 != 0)) 
            return getattr(self, '_m_is_later', None)

        @property
        def log2_lanes(self):
            if hasattr(self, '_m_log2_lanes'):
                return self._m_log2_lanes

            self._m_log2_lanes = self.flags >> 4
            return getattr(self, '_m_log2_lanes', None)


    class Prev(KaitaiStruct):
        """Clause 12.4."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Prev, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.head_length = self._io.read_u2le()
            self._raw_head = self._io.read_bytes(self.head_length)
            _io__raw_head = KaitaiStream(BytesIO(self._raw_head))
            self.head = Sinr.Head(_io__raw_head, self, self._root)
            self.pass_payload = self._io.read_bytes_full()


        def _fetch_instances(self):
            pass
            self.head._fetch_instances()


    class Prior(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Prior, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.has_prior = self._io.read_bits_int_le(1) != 0
            if self.has_prior:
                pass
                self.prior_form = self._io.read_bits_int_le(1) != 0

            if  ((self.has_prior) and ((not (self.prior_form)))) :
                pass
                self.prior_short = self._io.read_bits_int_le(7)

            if  ((self.has_prior) and (self.prior_form)) :
                pass
                self.prior_long = self._io.read_bits_int_le(16)

            if self.has_prior:
                pass
                self.prior_shift = self._io.read_bits_int_le(5)



        def _fetch_instances(self):
            pass
            if self.has_prior:
                pass

            if  ((self.has_prior) and ((not (self.prior_form)))) :
                pass

            if  ((self.has_prior) and (self.prior_form)) :
                pass

            if self.has_prior:
                pass



    class PyramidBody(KaitaiStruct):
        """Clause 9.6.2."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.PyramidBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.tool_flags = self._io.read_u1()
            self.n_levels = self._io.read_u1()
            self.axes = self._io.read_u1()
            self.filter = self._io.read_u1()
            self.context = self._io.read_u1()


        def _fetch_instances(self):
            pass


    class Record(KaitaiStruct):
        """Clause 6.4."""
        def __init__(self, n_before, _io, _parent=None, _root=None):
            super(Sinr.Record, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.n_before = n_before
            self._read()

        def _read(self):
            self.kind = KaitaiStream.resolve_enum(Sinr.RecordKind, self._io.read_u1())
            _on = self.kind
            if _on == Sinr.RecordKind.filter:
                pass
                self.body = Sinr.FilterBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.fourier:
                pass
                self.body = Sinr.FourierBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.fourier_seeded:
                pass
                self.body = Sinr.FourierSeededBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.grid:
                pass
                self.body = Sinr.GridBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.input:
                pass
                self.body = Sinr.InputBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.multiply:
                pass
                self.body = Sinr.MultiplyBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.output:
                pass
                self.body = Sinr.OutputBody(self._io, self, self._root)
            elif _on == Sinr.RecordKind.pyramid:
                pass
                self.body = Sinr.PyramidBody(self._io, self, self._root)
            else:
                pass
                self.body = Sinr.LayerBody(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            _on = self.kind
            if _on == Sinr.RecordKind.filter:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.fourier:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.fourier_seeded:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.grid:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.input:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.multiply:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.output:
                pass
                self.body._fetch_instances()
            elif _on == Sinr.RecordKind.pyramid:
                pass
                self.body._fetch_instances()
            else:
                pass
                self.body._fetch_instances()

        @property
        def n_layer_records(self):
            """Records of the groups layer and lattice_filter up to this one, for active_width."""
            if hasattr(self, '_m_n_layer_records'):
                return self._m_n_layer_records

            self._m_n_layer_records = self.n_before + (1 if int(self.kind) <= 12 else 0)
            return getattr(self, '_m_n_layer_records', None)


    class RecordTable(KaitaiStruct):
        def __init__(self, record, coding, is_later, _io, _parent=None, _root=None):
            super(Sinr.RecordTable, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.record = record
            self.coding = coding
            self.is_later = is_later
            self._read()

        def _read(self):
            self.layers = []
            for i in range(self.n_layers):
                self.layers.append(Sinr.LayerTable(self.tool_flags, self.coding, self.is_later, self._io, self, self._root))



        def _fetch_instances(self):
            pass
            for i in range(len(self.layers)):
                pass
                self.layers[i]._fetch_instances()


        @property
        def is_group(self):
            if hasattr(self, '_m_is_group'):
                return self._m_is_group

            self._m_is_group = int(self.record.kind) <= 12
            return getattr(self, '_m_is_group', None)

        @property
        def n_layers(self):
            if hasattr(self, '_m_n_layers'):
                return self._m_n_layers

            self._m_n_layers = (self.record.body.repeat if self.is_group else (1 if  ((self.record.kind == Sinr.RecordKind.output) or (self.record.kind == Sinr.RecordKind.filter))  else 0))
            return getattr(self, '_m_n_layers', None)

        @property
        def tool_flags(self):
            if hasattr(self, '_m_tool_flags'):
                return self._m_tool_flags

            self._m_tool_flags = (self.record.body.tool_flags if self.is_group else (self.record.body.tool_flags if self.record.kind == Sinr.RecordKind.output else self.record.body.tool_flags))
            return getattr(self, '_m_tool_flags', None)


    class RowSteps(KaitaiStruct):
        def __init__(self, coding, _io, _parent=None, _root=None):
            super(Sinr.RowSteps, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.coding = coding
            self._read()

        def _read(self):
            self.has = Sinr.HasRowSteps(self._io, self, self._root)
            if self.has.has_row_steps:
                pass
                self.values = Sinr.Values(self.coding, self._io, self, self._root)



        def _fetch_instances(self):
            pass
            self.has._fetch_instances()
            if self.has.has_row_steps:
                pass
                self.values._fetch_instances()



    class Seeded(KaitaiStruct):
        """Clause 6.3."""
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Seeded, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.rng_dictionary = self._io.read_u1()
            _on = self._parent.features_required & 1 != 0
            if _on == False:
                pass
                self.seed = self._io.read_u4le()
            elif _on == True:
                pass
                self.seed = self._io.read_u8le()


        def _fetch_instances(self):
            pass
            _on = self._parent.features_required & 1 != 0
            if _on == False:
                pass
            elif _on == True:
                pass


    class Step(KaitaiStruct):
        def __init__(self, _io, _parent=None, _root=None):
            super(Sinr.Step, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.step_form = self._io.read_bits_int_le(1) != 0
            if (not (self.step_form)):
                pass
                self.step_short = self._io.read_bits_int_le(7)

            if self.step_form:
                pass
                self.step_long = self._io.read_bits_int_le(10)



        def _fetch_instances(self):
            pass
            if (not (self.step_form)):
                pass

            if self.step_form:
                pass



    class Table(KaitaiStruct):
        """Clause 7.3: the tensors of all layers, the weights and then the bias of each."""
        def __init__(self, coding, is_later, _io, _parent=None, _root=None):
            super(Sinr.Table, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.coding = coding
            self.is_later = is_later
            self._read()

        def _read(self):
            self.records = []
            for i in range(self._root.head.payload.n_records - 1):
                self.records.append(Sinr.RecordTable(self._root.head.payload.records[i], self.coding, self.is_later, self._io, self, self._root))

            self.last_layer = Sinr.LayerTable(self._root.head.payload.last_record.body.tool_flags, self.coding, self.is_later, self._io, self, self._root)


        def _fetch_instances(self):
            pass
            for i in range(len(self.records)):
                pass
                self.records[i]._fetch_instances()

            self.last_layer._fetch_instances()


    class Values(KaitaiStruct):
        def __init__(self, coding, _io, _parent=None, _root=None):
            super(Sinr.Values, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.coding = coding
            self._read()

        def _read(self):
            if self.coding != 1:
                pass
                self.width = self._io.read_bits_int_le(5)

            if self.coding == 1:
                pass
                self.form = self._io.read_bits_int_le(2)

            if  ((self.coding == 1) and (self.form == 1)) :
                pass
                self.law = self._io.read_bits_int_le(2)

            if  ((self.coding == 1) and (self.form == 1)) :
                pass
                self.scale = self._io.read_bits_int_le(8)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.max_symbol = self._io.read_bits_int_le(10)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.zero_probability = self._io.read_bits_int_le(8)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.tail = self._io.read_bits_int_le(8)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.tail_change = self._io.read_bits_int_le(8)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.heavy = self._io.read_bits_int_le(1) != 0

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.low_bits = self._io.read_bits_int_le(4)

            if  ((self.coding == 1) and (self.form == 2)) :
                pass
                self.escape = self._io.read_bits_int_le(1) != 0



        def _fetch_instances(self):
            pass
            if self.coding != 1:
                pass

            if self.coding == 1:
                pass

            if  ((self.coding == 1) and (self.form == 1)) :
                pass

            if  ((self.coding == 1) and (self.form == 1)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass

            if  ((self.coding == 1) and (self.form == 2)) :
                pass




