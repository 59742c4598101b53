// Wineprng writes the DLL bcryptprimitives.dll, which Go's runtime loads at
// its start and which Wine before version 10 lacks.
//
// The DLL has no code. It exports ProcessPrng, the one function Go asks for,
// as a forwarder to advapi32.SystemFunction036 (RtlGenRandom), which takes the
// same arguments and is there in every Wine.
//
// Usage: go run .ci/wineprng/main.go OUT
package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"os"
)

const (
	dllName  = "bcryptprimitives.dll"
	function = "ProcessPrng"
	target   = "advapi32.SystemFunction036"
)

const (
	dosHeaderSize = 64
	fileAlign     = 0x200
	sectionAlign  = 0x1000
	sectionRVA    = sectionAlign // the headers fill the first aligned unit
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wineprng OUT")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], image(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "wineprng:", err)
		os.Exit(1)
	}
}

// image returns the whole file: headers padded to fileAlign, then the single
// section, padded likewise.
func image() []byte {
	section := exports()
	var f bytes.Buffer
	dos := make([]byte, dosHeaderSize)
	copy(dos, "MZ")
	binary.LittleEndian.PutUint32(dos[0x3c:], dosHeaderSize) // where the PE signature lies
	f.Write(dos)
	f.WriteString("PE\x00\x00")
	for _, header := range headers(len(section)) {
		put(&f, header)
	}
	pad(&f)
	f.Write(section)
	pad(&f)
	return f.Bytes()
}

func headers(size int) []any {
	optional := pe.OptionalHeader64{
		Magic:                       0x20b, // PE32+
		SizeOfInitializedData:       uint32(aligned(size, fileAlign)),
		ImageBase:                   0x7a0000000,
		SectionAlignment:            sectionAlign,
		FileAlignment:               fileAlign,
		MajorOperatingSystemVersion: 6,
		MajorSubsystemVersion:       6,
		SizeOfImage:                 uint32(sectionRVA + aligned(size, sectionAlign)),
		SizeOfHeaders:               fileAlign,
		Subsystem:                   pe.IMAGE_SUBSYSTEM_WINDOWS_CUI,
		DllCharacteristics:          pe.IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE | pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
		NumberOfRvaAndSizes:         16,
	}
	// The loader takes an export whose address lies inside this range as a
	// forwarder, so the range covers the strings too.
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{
		VirtualAddress: sectionRVA,
		Size:           uint32(size),
	}
	section := pe.SectionHeader32{
		VirtualSize:      uint32(size),
		VirtualAddress:   sectionRVA,
		SizeOfRawData:    uint32(aligned(size, fileAlign)),
		PointerToRawData: fileAlign,
		Characteristics:  pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	}
	copy(section.Name[:], ".edata")
	return []any{
		pe.FileHeader{
			Machine:              pe.IMAGE_FILE_MACHINE_AMD64,
			NumberOfSections:     1,
			SizeOfOptionalHeader: uint16(binary.Size(optional)),
			Characteristics:      pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE | pe.IMAGE_FILE_DLL,
		},
		optional,
		section,
	}
}

// exportDirectory is IMAGE_EXPORT_DIRECTORY; the names ending in RVA are
// addresses relative to the image.
type exportDirectory struct {
	Characteristics, TimeDateStamp uint32
	MajorVersion, MinorVersion     uint16
	NameRVA                        uint32
	OrdinalBase                    uint32
	NumberOfFunctions              uint32
	NumberOfNames                  uint32
	FunctionsRVA                   uint32
	NamesRVA                       uint32
	OrdinalsRVA                    uint32
}

// exports returns the section: the directory, its three tables of one entry
// each, and the three strings they point to.
func exports() []byte {
	var dir exportDirectory
	functions := uint32(sectionRVA + binary.Size(dir))
	names := functions + 4
	ordinals := names + 4
	nameRVA := ordinals + 2
	functionRVA := nameRVA + uint32(len(dllName)+1)
	targetRVA := functionRVA + uint32(len(function)+1)

	dir = exportDirectory{
		NameRVA:           nameRVA,
		OrdinalBase:       1,
		NumberOfFunctions: 1,
		NumberOfNames:     1,
		FunctionsRVA:      functions,
		NamesRVA:          names,
		OrdinalsRVA:       ordinals,
	}
	var b bytes.Buffer
	put(&b, dir)
	put(&b, targetRVA)
	put(&b, functionRVA)
	put(&b, uint16(0))
	b.WriteString(dllName + "\x00" + function + "\x00" + target + "\x00")
	return b.Bytes()
}

// put appends v, whose size must be fixed.
func put(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
}

func pad(b *bytes.Buffer) {
	b.Write(make([]byte, aligned(b.Len(), fileAlign)-b.Len()))
}

func aligned(n, unit int) int {
	return (n + unit - 1) / unit * unit
}
